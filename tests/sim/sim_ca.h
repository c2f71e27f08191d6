/* What the fake CA answers to one exchange that reached it. */
#ifndef KEYROLL_TESTS_SIM_SIM_CA_H
#define KEYROLL_TESTS_SIM_SIM_CA_H

#include "tests/sim/sim.h"

enum tp_result sim_ca_answer(struct sim *sim, enum tp_act act, struct tp_cert *ret);

#endif
