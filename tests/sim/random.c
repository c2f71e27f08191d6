/* Random lives: faults come and go, operators ask, the process dies, the clock jumps, its trust changes, the policy too. The invariants must
 * hold after every step, and once the world is sane again for a while the router must have a valid certificate or be held.
 *	random [--seed N] [--rounds N]		prints the seed of the round that broke; --seed N --rounds 1 repeats it */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

#define DAY0_MS (SIM_EPOCH_SEC * TIMER_SECOND_MS)
#define TURNS 60

struct dice {
	uint64_t seed, n;
};

static unsigned roll(struct dice *dice, unsigned sides)
{
	return (unsigned)(timer_hash(dice->seed, dice->n++) % sides);
}

static struct tp_policy any_policy(struct dice *dice)
{
	static const int percents[] = {10, 50, 70, 80, 90, 100};
	static const int64_t periods[] = {TIMER_SECOND_MS, 5 * TIMER_SECOND_MS, TIMER_MINUTE_MS, 10 * TIMER_MINUTE_MS, TIMER_HOUR_MS};

	return (struct tp_policy){
		.auto_enroll = roll(dice, 5) != 0, .percent = percents[roll(dice, 6)], .regenerate = roll(dice, 2), .jitter = roll(dice, 2),
		.pinned = roll(dice, 5) != 0, .retry_period_ms = periods[roll(dice, 5)], .retry_count = (uint32_t)(roll(dice, 3) * 5),
		.previous_grace_ms = roll(dice, 2) ? TIMER_DAY_MS : TIMER_MINUTE_MS,
	};
}

static bool any_ca(struct dice *dice, struct sim_ca *ca)
{
	static const int64_t lives[] = {TIMER_HOUR_MS * 5, 10 * SIM_DAY_MS, 100 * SIM_DAY_MS, 730 * SIM_DAY_MS};
	int64_t life = lives[roll(dice, 4)];
	struct sim_order orders[4];
	size_t n = roll(dice, 5);

	*ca = (struct sim_ca){
		.policy = {.ca_lifetime_ms = life, .cert_lifetime_ms = life / (1 + roll(dice, 4)), .crl_lifetime_ms = SIM_YEAR_MS,
			   .request_lifetime_ms = 7 * SIM_DAY_MS, .overlap_ms = life * roll(dice, 4) / 10, .rollover_start_now = roll(dice, 2)},
		.grants = {.grant = roll(dice, 2) ? CAR_GRANT_AUTO : CAR_GRANT_MANUAL, .grant_renewals = roll(dice, 2)},
	};
	for (size_t i = 0; i < n; i++)
		orders[i] = (struct sim_order){.at_ms = DAY0_MS + (int64_t)(i + 1) * life / 6, .kind = roll(dice, 2) ? CAL_EV_ROLLOVER : CAL_EV_CANCEL};
	return sim_ca_build(ca, DAY0_MS, DAY0_MS + 12 * life, orders, n);
}

static struct sim_faults any_faults(struct dice *dice)
{
	struct sim_faults faults = {.no_verdict = roll(dice, 4) * 33, .local = roll(dice, 3) * 30, .reject = roll(dice, 12) == 0,
				    .other_ca = roll(dice, 12) == 0};

	faults.grant_delay_ms = (int64_t)roll(dice, 5) * TIMER_HOUR_MS * (int64_t)roll(dice, 30);
	faults.latency_ms = roll(dice, 3) * 20000;
	faults.local_ms = roll(dice, 3) * 700;
	faults.retry_after_ms = roll(dice, 6) == 0 ? SIM_YEAR_MS : 0;
	return faults;
}

static void tick(struct sim *sim)
{
	static const struct tp_event event = {.kind = TP_EV_TICK};

	sim_event(sim, &event);
}

/* A DONE that nobody waits for. */
static void stray(struct sim *sim, struct dice *dice)
{
	struct tp_event event = {.kind = TP_EV_DONE, .act = (enum tp_act)roll(dice, TP_ACT_N_), .result = (enum tp_result)roll(dice, TP_RESULT_N_)};

	if (event.act != sim->tp.busy)
		sim_event(sim, &event);
}

static void turn(struct sim *sim, struct dice *dice)
{
	switch (roll(dice, 10)) {
	case 0: sim->faults = any_faults(dice); break;
	case 1: sim_command(sim, (enum tp_command)roll(dice, TP_COMMAND_N_)); break;
	case 2: sim_crash(sim, true); break;
	case 3: sim_crash(sim, false); break;
	case 4:
		sim->skew_ms = roll(dice, 2) ? 0 : (roll(dice, 2) ? 20 : -20) * SIM_YEAR_MS;
		tick(sim);
		break;
	case 5:
		sim->trusted = !sim->trusted;
		tick(sim);
		break;
	case 6:
		sim->policy = any_policy(dice);
		sim->commanded = true; /* a shorter RetryPeriod may bring the next request nearer, once */
		sim_start(sim, true);
		break;
	case 7: stray(sim, dice); break;
	default: sim->faults = (struct sim_faults){.latency_ms = 100}; break;
	}
}

/* The world is sane, and an operator has looked: in the end the router must be well. */
static const char *recover(struct sim *sim, int64_t life_ms)
{
	struct tp_now now;

	sim->faults = (struct sim_faults){.latency_ms = 100};
	sim->skew_ms = 0;
	sim->trusted = true;
	sim->policy.auto_enroll = sim->policy.pinned = true;
	sim->policy.percent = 70;
	sim->policy.retry_period_ms = 5 * TIMER_SECOND_MS;
	sim->commanded = true;
	sim_start(sim, true);
	sim_run(sim, sim->true_ms + TIMER_HOUR_MS);
	sim_command(sim, TP_COMMAND_AUTHENTICATE);
	sim_run(sim, sim->true_ms + TIMER_HOUR_MS);
	sim_command(sim, TP_COMMAND_ENROLL);
	sim_run(sim, sim->true_ms + life_ms / 4 + 2 * TIMER_HOUR_MS);
	now = sim_now(sim);
	if (sim->broken)
		return sim->broken;
	if (sim->true_ms >= sim_era(sim)->ca.na_sec * TIMER_SECOND_MS)
		return NULL; /* the CA has ended: nobody can help */
	if (sim->tp.hold == TP_HOLD_REJECTED) /* it was addressed to a rollover CA that was cancelled */
		return NULL;
	if (sim->tp.id.na_sec == 0 || now.wall.ms > sim->tp.id.na_sec * TIMER_SECOND_MS)
		return "no valid certificate though the world is sane";
	return sim->tp.id.serial_low == sim->delivered.serial_low ? NULL : "what is delivered is not what the state says";
}

static const char *live(uint64_t seed)
{
	static struct sim_ca ca;
	struct dice dice = {.seed = seed};
	struct tp_policy policy = any_policy(&dice);
	struct sim sim;
	const char *broken;

	if (!any_ca(&dice, &ca))
		return "the CA changes too often";
	sim_init(&sim, &policy, &ca, seed, DAY0_MS + (int64_t)roll(&dice, 1000) * TIMER_SECOND_MS);
	sim.faults = any_faults(&dice);
	sim_start(&sim, false);
	for (int i = 0; i < TURNS && !sim.broken; i++) {
		sim_run(&sim, sim.true_ms + (int64_t)timer_hash(seed, dice.n++) % (ca.policy.ca_lifetime_ms / 12) * (roll(&dice, 2) ? 1 : 0) +
			      roll(&dice, 100000));
		turn(&sim, &dice);
	}
	broken = recover(&sim, ca.policy.ca_lifetime_ms);
	if (broken)
		printf("seed %" PRIu64 ": day %.6f, step %" PRIu64 ", %s/%s: %s\n", seed, sim_days(sim.true_ms), sim.steps, tp_op_name(sim.tp.op),
		       tp_stage_name(sim.tp.stage), broken);
	return broken;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {{"seed", required_argument, NULL, 's'}, {"rounds", required_argument, NULL, 'r'}, {NULL, 0, NULL, 0}};
	uint64_t seed = 1, rounds = 500, broken = 0;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (c == '?') {
			fprintf(stderr, "usage: random [--seed N] [--rounds N]\n");
			return 2;
		}
		*(c == 's' ? &seed : &rounds) = strtoull(optarg, NULL, 10);
	}
	for (uint64_t i = 0; i < rounds && broken < 20; i++)
		broken += live(seed + i) != NULL;
	printf("%" PRIu64 " lives from seed %" PRIu64 ", %" PRIu64 " broken\n", rounds, seed, broken);
	return broken != 0;
}
