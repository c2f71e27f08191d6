/* Words for the wire's numbers. */
#include <assert.h>

#include "scep/scep.h"

const char *scep_type_name(enum scep_type type)
{
	switch (type) {
	case SCEP_TYPE_CERT_REP:
		return "CertRep";
	case SCEP_TYPE_RENEWAL_REQ:
		return "RenewalReq";
	case SCEP_TYPE_PKCS_REQ:
		return "PKCSReq";
	case SCEP_TYPE_CERT_POLL:
		return "CertPoll";
	case SCEP_TYPE_GET_CERT:
		return "GetCert";
	case SCEP_TYPE_GET_CRL:
		return "GetCRL";
	}
	return NULL;
}

const char *scep_fail_name(enum scep_fail fail)
{
	static const char *const names[] = { "badAlg", "badMessageCheck", "badRequest", "badTime", "badCertId" };

	static_assert(sizeof(names) / sizeof(names[0]) == SCEP_FAIL_N_, "a failInfo without its name");
	return (unsigned) fail < SCEP_FAIL_N_ ? names[fail] : NULL;
}
