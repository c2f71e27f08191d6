/* Plays a scenario in virtual time and prints its trace: time, event, status, operation/stage/hold, actions.
 *	scenario FILE
 * A scenario is lines of words; # begins a comment. Durations: 1d12h, 90s, 20y, -3m.
 *	policy KEY=VALUE...	percent regenerate jitter pinned retry count grace; percent=none: no auto-enroll
 *	ca KEY=VALUE...		lifetime cert overlap start=now|at-expiry grant=auto|manual renewals=yes|no request
 *	faults KEY=VALUE...	no-verdict local reject other-ca delay retry-after latency
 *	seed N, start TIME (of the router), end TIME
 *	at TIME VERB...		policy, faults (as above), jump DURATION, trust yes|no, crash, reboot, command NAME, ca rollover|cancel
 * Exit: 0 played, 1 an invariant broke, 2 usage or the file. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define WORDS_MAX 16
#define LINES_MAX 128
#define DAY0_MS (SIM_EPOCH_SEC * TIMER_SECOND_MS)

struct line {
	int64_t at_ms; /* "at" lines, relative to day 0 */
	size_t n;
	char *words[WORDS_MAX];
	char text[256];
};

struct scenario {
	struct tp_policy policy;
	struct sim_ca ca;
	struct sim_faults faults;
	uint64_t seed;
	int64_t start_ms, end_ms;
	struct sim_order orders[LINES_MAX];
	size_t n_orders;
	struct line lines[LINES_MAX]; /* the "at" lines */
	size_t n_lines;
};

static bool duration(const char *text, int64_t *ret)
{
	static const struct {
		const char *unit;
		int64_t ms;
	} units[] = {{"ms", 1}, {"s", TIMER_SECOND_MS}, {"m", TIMER_MINUTE_MS}, {"h", TIMER_HOUR_MS}, {"d", SIM_DAY_MS}, {"y", SIM_YEAR_MS}};
	int64_t sign = *text == '-' ? -1 : 1, sum = 0;

	text += *text == '-';
	while (*text != '\0') {
		char *end;
		double number = strtod(text, &end);
		size_t i = 0, len = 0;

		for (; i < sizeof(units) / sizeof(units[0]); i++) {
			len = strlen(units[i].unit);
			if (end != text && strncmp(end, units[i].unit, len) == 0 && (end[len] == '\0' || (end[len] >= '0' && end[len] <= '9')))
				break;
		}
		if (i == sizeof(units) / sizeof(units[0]))
			return false;
		sum += (int64_t)(number * (double)units[i].ms + 0.5);
		text = end + len;
	}
	*ret = sign * sum;
	return true;
}

static bool yes(const char *text, bool *ret)
{
	*ret = strcmp(text, "yes") == 0;
	return *ret || strcmp(text, "no") == 0;
}

static bool number(const char *text, unsigned long *ret)
{
	char *end;

	*ret = strtoul(text, &end, 10);
	return *text != '\0' && *end == '\0';
}

static bool set_policy(struct tp_policy *policy, const char *key, const char *value)
{
	unsigned long n = 0;

	if (strcmp(key, "percent") == 0) {
		policy->auto_enroll = strcmp(value, "none") != 0;
		if (policy->auto_enroll && !number(value, &n))
			return false;
		policy->percent = (int)n;
		return true;
	}
	if (strcmp(key, "count") == 0) {
		if (!number(value, &n))
			return false;
		policy->retry_count = (uint32_t)n;
		return true;
	}
	if (strcmp(key, "regenerate") == 0)
		return yes(value, &policy->regenerate);
	if (strcmp(key, "jitter") == 0)
		return yes(value, &policy->jitter);
	if (strcmp(key, "pinned") == 0)
		return yes(value, &policy->pinned);
	if (strcmp(key, "retry") == 0)
		return duration(value, &policy->retry_period_ms);
	return strcmp(key, "grace") == 0 && duration(value, &policy->previous_grace_ms);
}

static bool set_ca(struct sim_ca *ca, const char *key, const char *value)
{
	if (strcmp(key, "lifetime") == 0)
		return duration(value, &ca->policy.ca_lifetime_ms);
	if (strcmp(key, "cert") == 0)
		return duration(value, &ca->policy.cert_lifetime_ms);
	if (strcmp(key, "overlap") == 0)
		return duration(value, &ca->policy.overlap_ms);
	if (strcmp(key, "request") == 0)
		return duration(value, &ca->policy.request_lifetime_ms);
	if (strcmp(key, "renewals") == 0)
		return yes(value, &ca->grants.grant_renewals);
	if (strcmp(key, "start") == 0) {
		ca->policy.rollover_start_now = strcmp(value, "now") == 0;
		return ca->policy.rollover_start_now || strcmp(value, "at-expiry") == 0;
	}
	ca->grants.grant = strcmp(value, "auto") == 0 ? CAR_GRANT_AUTO : CAR_GRANT_MANUAL;
	return strcmp(key, "grant") == 0 && (ca->grants.grant == CAR_GRANT_AUTO || strcmp(value, "manual") == 0);
}

static bool set_faults(struct sim_faults *faults, const char *key, const char *value)
{
	unsigned long n;

	if (strcmp(key, "no-verdict") == 0 || strcmp(key, "local") == 0) {
		if (!number(value, &n) || n > 100)
			return false;
		*(*key == 'l' ? &faults->local : &faults->no_verdict) = (unsigned)n;
		return true;
	}
	if (strcmp(key, "reject") == 0)
		return yes(value, &faults->reject);
	if (strcmp(key, "other-ca") == 0)
		return yes(value, &faults->other_ca);
	if (strcmp(key, "delay") == 0)
		return duration(value, &faults->grant_delay_ms);
	if (strcmp(key, "retry-after") == 0)
		return duration(value, &faults->retry_after_ms);
	return strcmp(key, "latency") == 0 && duration(value, &faults->latency_ms);
}

/* Each word from the given one on is KEY=VALUE for the thing that the word before names. */
static bool set_all(const struct line *line, size_t from, struct tp_policy *policy, struct sim_ca *ca, struct sim_faults *faults)
{
	const char *what = line->words[from - 1];

	for (size_t i = from; i < line->n; i++) {
		char key[32], *eq = strchr(line->words[i], '=');
		bool ok = false;

		if (!eq || (size_t)(eq - line->words[i]) >= sizeof(key))
			return false;
		memcpy(key, line->words[i], (size_t)(eq - line->words[i]));
		key[eq - line->words[i]] = '\0';
		if (strcmp(what, "policy") == 0)
			ok = set_policy(policy, key, eq + 1);
		else if (strcmp(what, "ca") == 0)
			ok = set_ca(ca, key, eq + 1);
		else if (strcmp(what, "faults") == 0)
			ok = set_faults(faults, key, eq + 1);
		if (!ok)
			return false;
	}
	return true;
}

static bool add_order(struct scenario *sc, const struct line *line)
{
	enum cal_event_kind kind = strcmp(line->words[3], "rollover") == 0 ? CAL_EV_ROLLOVER : CAL_EV_CANCEL;

	if (kind == CAL_EV_CANCEL && strcmp(line->words[3], "cancel") != 0)
		return false;
	sc->orders[sc->n_orders++] = (struct sim_order){.at_ms = DAY0_MS + line->at_ms, .kind = kind};
	return true;
}

static bool parse_line(struct scenario *sc, struct line *line)
{
	const char *verb = line->words[0];
	unsigned long n;

	if (strcmp(verb, "policy") == 0 || strcmp(verb, "ca") == 0 || strcmp(verb, "faults") == 0)
		return set_all(line, 1, &sc->policy, &sc->ca, &sc->faults);
	if (line->n >= 3 && strcmp(verb, "at") == 0) {
		if (!duration(line->words[1], &line->at_ms))
			return false;
		if (strcmp(line->words[2], "ca") == 0)
			return line->n == 4 && add_order(sc, line);
		sc->n_lines++; /* this slot is used now */
		return true;
	}
	if (line->n != 2)
		return false;
	if (strcmp(verb, "start") == 0)
		return duration(line->words[1], &sc->start_ms);
	if (strcmp(verb, "end") == 0)
		return duration(line->words[1], &sc->end_ms);
	if (strcmp(verb, "seed") != 0 || !number(line->words[1], &n))
		return false;
	sc->seed = n;
	return true;
}

static bool split(struct line *line)
{
	char *save = NULL;

	line->n = 0;
	line->text[strcspn(line->text, "#\n")] = '\0';
	for (char *word = strtok_r(line->text, " \t", &save); word; word = strtok_r(NULL, " \t", &save)) {
		if (line->n == WORDS_MAX)
			return false;
		line->words[line->n++] = word;
	}
	return true;
}

static bool load(struct scenario *sc, const char *path)
{
	FILE *file = fopen(path, "r");
	struct line *line = &sc->lines[0];
	unsigned at = 0;
	bool ok = file != NULL;

	while (ok && fgets(line->text, sizeof(line->text), file)) {
		at++;
		ok = split(line) && (line->n == 0 || parse_line(sc, line)) && sc->n_lines < LINES_MAX && sc->n_orders < LINES_MAX;
		line = &sc->lines[sc->n_lines];
	}
	if (!ok)
		fprintf(stderr, "%s:%u: not understood\n", path, at);
	if (file)
		(void)fclose(file); /* was only read */
	return ok;
}

static void print_time(const struct sim *sim)
{
	int64_t ms = sim->true_ms - DAY0_MS;

	printf("%5" PRId64 "d %02" PRId64 ":%02" PRId64 ":%02" PRId64 ".%03" PRId64, ms / SIM_DAY_MS, ms / TIMER_HOUR_MS % 24, ms / TIMER_MINUTE_MS % 60,
	       ms / TIMER_SECOND_MS % 60, ms % 1000);
}

static void print_event(const struct tp_event *event)
{
	static const char *const commands[] = {"authenticate", "enroll", "renew"};
	char text[40];

	if (event->kind == TP_EV_DONE)
		(void)snprintf(text, sizeof(text), "%s: %s", tp_act_name(event->act), tp_result_name(event->result));
	else if (event->kind == TP_EV_COMMAND)
		(void)snprintf(text, sizeof(text), "command %s", commands[event->command]);
	else
		(void)snprintf(text, sizeof(text), "%s", tp_event_name(event->kind));
	printf("  %-22s", text);
}

static void trace(const struct sim *sim, const struct tp_event *event, const struct tp_actions *actions, void *arg)
{
	struct tp_now now = sim_now(sim);
	char phase[48];

	(void)arg;
	if (event->kind == TP_EV_TICK && actions->n == 0)
		return;
	print_time(sim);
	print_event(event);
	(void)snprintf(phase, sizeof(phase), "%s/%s%s%s", tp_op_name(sim->tp.op), tp_stage_name(sim->tp.stage), sim->tp.hold ? "/" : "",
		       sim->tp.hold ? tp_hold_name(sim->tp.hold) : "");
	printf("  %-15s  %-17s ", tp_status_name(&sim->policy, &sim->tp, &now), phase);
	for (size_t i = 0; i < actions->n; i++)
		printf(" %s%s%s", tp_act_name(actions->list[i].act), actions->list[i].alert ? ":" : "",
		       actions->list[i].alert ? tp_alert_name(actions->list[i].alert) : "");
	printf("\n");
}

static bool play_command(struct sim *sim, const char *name)
{
	if (strcmp(name, "authenticate") == 0)
		sim_command(sim, TP_COMMAND_AUTHENTICATE);
	else if (strcmp(name, "enroll") == 0)
		sim_command(sim, TP_COMMAND_ENROLL);
	else if (strcmp(name, "renew") == 0)
		sim_command(sim, TP_COMMAND_RENEW);
	else
		return false;
	return true;
}

static bool play(struct sim *sim, const struct line *line)
{
	const char *verb = line->words[2];
	bool one = line->n == 4, ok = true;

	printf("               --");
	for (size_t i = 2; i < line->n; i++)
		printf(" %s", line->words[i]);
	printf("\n");
	if (strcmp(verb, "faults") == 0)
		return set_all(line, 3, NULL, NULL, &sim->faults);
	if (strcmp(verb, "command") == 0)
		return one && play_command(sim, line->words[3]);
	if (strcmp(verb, "crash") == 0 || strcmp(verb, "reboot") == 0) {
		sim_crash(sim, *verb == 'c');
		return true;
	}
	if (strcmp(verb, "policy") == 0) {
		ok = set_all(line, 3, &sim->policy, NULL, NULL);
		sim_start(sim, true);
		return ok;
	}
	if (strcmp(verb, "jump") == 0)
		ok = one && duration(line->words[3], &sim->skew_ms);
	else
		ok = strcmp(verb, "trust") == 0 && one && yes(line->words[3], &sim->trusted);
	sim_event(sim, &(struct tp_event){.kind = TP_EV_TICK});
	return ok;
}

static int run(struct scenario *sc)
{
	struct sim sim;

	if (!sim_ca_build(&sc->ca, DAY0_MS, DAY0_MS + sc->end_ms, sc->orders, sc->n_orders))
		return 2;
	sim_init(&sim, &sc->policy, &sc->ca, sc->seed, DAY0_MS + sc->start_ms);
	sim.faults = sc->faults;
	sim.trace = trace;
	sim_start(&sim, false);
	for (size_t i = 0; i < sc->n_lines && !sim.broken; i++) {
		sim_run(&sim, DAY0_MS + sc->lines[i].at_ms);
		if (!play(&sim, &sc->lines[i])) {
			fprintf(stderr, "line not understood: at %s %s\n", sc->lines[i].words[1], sc->lines[i].words[2]);
			return 2;
		}
	}
	sim_run(&sim, DAY0_MS + sc->end_ms);
	sim_finish(&sim);
	printf("%" PRIu64 " requests, at most %" PRIu32 " a day; %" PRIu64 " enrolments, %" PRIu64 " renewals, %" PRIu64 " shadows, %" PRIu64
	       " switches; %" PRIu64 " expiries\n",
	       sim.requests, sim.max_day_requests, sim.enrolments, sim.renewals, sim.shadows, sim.switches, sim.expiries);
	if (sim.broken)
		printf("BROKEN: %s\n", sim.broken);
	return sim.broken != NULL;
}

int main(int argc, char **argv)
{
	static struct scenario sc = {
		.policy = {.auto_enroll = true, .percent = 80, .pinned = true, .retry_period_ms = TIMER_MINUTE_MS, .retry_count = 999,
			   .previous_grace_ms = SIM_DAY_MS},
		.ca = {.policy = {.ca_lifetime_ms = 730 * SIM_DAY_MS, .cert_lifetime_ms = 365 * SIM_DAY_MS, .crl_lifetime_ms = SIM_YEAR_MS,
				  .request_lifetime_ms = 7 * SIM_DAY_MS, .overlap_ms = 90 * SIM_DAY_MS},
		       .grants = {.grant = CAR_GRANT_AUTO, .grant_renewals = true}},
		.seed = 1, .end_ms = 2 * SIM_YEAR_MS,
	};

	if (argc != 2) {
		fprintf(stderr, "usage: scenario FILE\n");
		return 2;
	}
	return load(&sc, argv[1]) ? run(&sc) : 2;
}
