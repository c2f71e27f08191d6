/* Algorithms by profile and capabilities: see profile.h. */
#include "agent/profile.h"

const struct scep_policy *profile_policy(const struct tpconf *c)
{
	switch ((enum tpconf_profile) c->profile) {
	case TPCONF_PROFILE_3DES:
		return &scep_policy_3des;
	case TPCONF_PROFILE_LEGACY:
		return c->allow_des ? &scep_policy_legacy : &scep_policy_3des;
	case TPCONF_PROFILE_DEFAULT:
	case TPCONF_PROFILE_N_:
		break;
	}
	return &scep_policy_default;
}

struct scep_algs profile_algs(const struct tpconf *c, unsigned caps)
{
	bool standard = caps & SCEP_CAP_STANDARD;
	struct scep_algs a = { .cipher = SCEP_CIPHER_AES128, .digest = SCEP_DIGEST_SHA256 };

	if (c->profile == TPCONF_PROFILE_DEFAULT)
		return a;
	if (!standard && !(caps & SCEP_CAP_AES))
		a.cipher = c->allow_des && !(caps & SCEP_CAP_DES3) ? SCEP_CIPHER_DES : SCEP_CIPHER_DES3;
	if (!standard && !(caps & SCEP_CAP_SHA256))
		a.digest = caps & SCEP_CAP_SHA512 ? SCEP_DIGEST_SHA512 : SCEP_DIGEST_SHA1;
	return a;
}

enum scep_type profile_renewal_type(unsigned caps)
{
	return (caps & SCEP_CAP_RENEWAL) && (caps & SCEP_CAP_STANDARD) ? SCEP_TYPE_RENEWAL_REQ : SCEP_TYPE_PKCS_REQ;
}

bool profile_post(unsigned caps)
{
	return caps & (SCEP_CAP_POST | SCEP_CAP_STANDARD);
}
