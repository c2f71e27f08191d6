/* Fault points for the kill campaign: absent unless configured with --enable-fault-points. */
#ifndef KEYROLL_COMMON_FAULT_H
#define KEYROLL_COMMON_FAULT_H

/* KEYROLL_FAULT=name:n in the environment: the n-th time (from 1) that FAULT("name") is passed, the process dies by
 * SIGKILL, as in a power cut. Names are AREA.PLACE: "fs.written", "agent.persisted". */
#ifdef KEYROLL_FAULT_POINTS
void fault_hit(const char *name);
#define FAULT(name) fault_hit(name)
#else
#define FAULT(name) ((void) 0)
#endif

#endif
