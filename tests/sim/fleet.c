/* A fleet in virtual time: how many certificates lapse when so many percent of all exchanges get no verdict? Routers do not interact, so each
 * lives its years alone, all against one history of the CA.
 *	fleet --routers N --years Y --fail PERCENT [--max-seconds S] [--seed N] [--check] [--grant-delay HOURS]
 * Without arguments, as in make check: 2000 routers, 10 years, 30 %, every invariant checked. Exit: 0 fine, 1 a certificate expired, an invariant broke or it
 * took too long, 2 usage. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tests/sim/sim.h"

struct fleet {
	unsigned long routers, years, fail, max_seconds, seed, grant_delay_hours;
	bool check;
	uint64_t steps, requests, enrolments, renewals, shadows, switches, expiries, alerts;
	uint32_t max_day_requests;
};

static const struct tp_policy policy = {
	.auto_enroll = true, .percent = 80, .regenerate = true, .jitter = true, .pinned = true, .retry_period_ms = TIMER_MINUTE_MS,
	.retry_count = 999, .previous_grace_ms = TIMER_DAY_MS,
};

static bool number(const char *text, unsigned long *ret)
{
	char *end;

	*ret = strtoul(text, &end, 10);
	return *text != '\0' && *end == '\0' && *text != '-';
}

static bool parse(struct fleet *f, int argc, char **argv)
{
	static const struct option options[] = {
		{"routers", required_argument, NULL, 'r'}, {"years", required_argument, NULL, 'y'}, {"fail", required_argument, NULL, 'f'},
		{"max-seconds", required_argument, NULL, 'm'}, {"seed", required_argument, NULL, 's'}, {"check", no_argument, NULL, 'c'},
		{"grant-delay", required_argument, NULL, 'g'}, {NULL, 0, NULL, 0},
	};
	bool ok = true;
	int c;

	while (ok && (c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 'r': ok = number(optarg, &f->routers); break;
		case 'y': ok = number(optarg, &f->years); break;
		case 'f': ok = number(optarg, &f->fail); break;
		case 'm': ok = number(optarg, &f->max_seconds); break;
		case 's': ok = number(optarg, &f->seed); break;
		case 'g': ok = number(optarg, &f->grant_delay_hours); break;
		case 'c': f->check = true; break;
		default: ok = false;
		}
	}
	return ok && optind == argc && f->routers > 0 && f->years > 0 && f->years <= 100 && f->fail <= 100;
}

/* One router: enrols at some moment of the first year, lives to the end. */
static const char *live(struct fleet *f, const struct sim_ca *ca, unsigned long which, int64_t end_ms)
{
	struct sim sim;
	uint64_t seed = timer_hash(f->seed, which);

	sim_init(&sim, &policy, ca, seed, SIM_EPOCH_SEC * TIMER_SECOND_MS + (int64_t)(seed % (uint64_t)SIM_YEAR_MS));
	sim.check = f->check;
	sim.faults.no_verdict = (unsigned)f->fail;
	sim.faults.latency_ms = 200;
	sim.faults.grant_delay_ms = (int64_t)f->grant_delay_hours * TIMER_HOUR_MS;
	sim_start(&sim, false);
	sim_run(&sim, end_ms);
	sim_finish(&sim);
	f->steps += sim.steps;
	f->requests += sim.requests;
	f->enrolments += sim.enrolments;
	f->renewals += sim.renewals;
	f->shadows += sim.shadows;
	f->switches += sim.switches;
	f->expiries += sim.expiries;
	f->alerts += sim.alerts;
	if (sim.max_day_requests > f->max_day_requests)
		f->max_day_requests = sim.max_day_requests;
	return sim.broken;
}

static void report(const struct fleet *f, double seconds)
{
	printf("routers %lu, years %lu, no verdict %lu %%, seed %lu\n", f->routers, f->years, f->fail, f->seed);
	printf("expiries     %" PRIu64 "\n", f->expiries);
	printf("enrolments   %" PRIu64 "\nrenewals     %" PRIu64 "\nshadows      %" PRIu64 "\nswitches     %" PRIu64 "\n", f->enrolments, f->renewals,
	       f->shadows, f->switches);
	printf("requests     %" PRIu64 ", at most %" PRIu32 " a day by one router\nalerts       %" PRIu64 "\nsteps        %" PRIu64 "\n", f->requests,
	       f->max_day_requests, f->alerts, f->steps);
	printf("cpu seconds  %.2f (%.0f ns a step)\n", seconds, seconds * 1e9 / (double)f->steps);
}

static int run(struct fleet *f)
{
	static struct sim_ca ca = {
		.policy = {.ca_lifetime_ms = 730 * SIM_DAY_MS, .cert_lifetime_ms = 365 * SIM_DAY_MS, .crl_lifetime_ms = SIM_YEAR_MS,
			   .request_lifetime_ms = 7 * SIM_DAY_MS, .overlap_ms = 90 * SIM_DAY_MS},
		.grants = {.grant = CAR_GRANT_AUTO, .grant_renewals = true},
	};
	int64_t start = SIM_EPOCH_SEC * TIMER_SECOND_MS, end = start + (int64_t)f->years * SIM_YEAR_MS;
	const char *broken = NULL;
	clock_t began = clock();
	double seconds;

	if (f->grant_delay_hours != 0)
		ca.grants = (struct car_policy){.grant = CAR_GRANT_MANUAL, .grant_renewals = false};
	if (!sim_ca_build(&ca, start, end, NULL, 0)) {
		fprintf(stderr, "fleet: the CA changes too often\n");
		return 1;
	}
	for (unsigned long i = 0; i < f->routers && !broken; i++) {
		broken = live(f, &ca, i, end);
		if (broken)
			fprintf(stderr, "fleet: router %lu, seed %lu: %s\n", i, f->seed, broken);
	}
	seconds = (double)(clock() - began) / CLOCKS_PER_SEC;
	report(f, seconds);
	if (f->max_seconds != 0 && seconds > (double)f->max_seconds)
		fprintf(stderr, "fleet: %.1f s, wanted at most %lu\n", seconds, f->max_seconds);
	return broken || f->expiries != 0 || (f->max_seconds != 0 && seconds > (double)f->max_seconds);
}

int main(int argc, char **argv)
{
	struct fleet fleet = {.routers = 2000, .years = 10, .fail = 30, .seed = 1, .check = argc == 1};

	if (!parse(&fleet, argc, argv)) {
		fprintf(stderr, "usage: fleet --routers N --years Y --fail PERCENT [--max-seconds S] [--seed N] [--check] [--grant-delay HOURS]\n");
		return 2;
	}
	return run(&fleet);
}
