/* Which algorithms a trustpoint uses: the local profile rules, the CA's capabilities choose within it. */
#ifndef KEYROLL_AGENT_PROFILE_H
#define KEYROLL_AGENT_PROFILE_H

#include "agent/tpconf.h"
#include "scep/scep.h"

const struct scep_policy *profile_policy(const struct tpconf *c);
/* What our requests are made with. Never below the profile: a CA that hides AES gets AES all the same (NDES does). */
struct scep_algs profile_algs(const struct tpconf *c, unsigned caps);
/* RenewalReq where the CA understands it. */
enum scep_type profile_renewal_type(unsigned caps);
bool profile_post(unsigned caps);

#endif
