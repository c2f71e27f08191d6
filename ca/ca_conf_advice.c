/* What a checked configuration is worth: warnings, what a reload cannot change, and the SCEP policy that it stands for. */
#include "ca/ca_conf.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct warning {
	bool on;
	const char *text;
};

const char *ca_conf_warning(const struct ca_conf *c, size_t i, char *buf, size_t bytes)
{
	const struct cal_policy *p = &c->cal;
	const struct warning all[] = {
		{ p->ca_lifetime_ms < 60000, "CACertificateLifetime is under a minute" },
		{ p->cert_lifetime_ms < 60000, "CertificateLifetime is under a minute" },
		{ p->crl_lifetime_ms < 60000, "CRLLifetime is under a minute" },
		{ p->request_lifetime_ms < 60000, "EnrollmentRequestLifetime is under a minute" },
		{ p->overlap_ms == 0, "AutoRollover is not set: the CA ends unless `pkictl ca rollover` is given in time" },
		{ p->overlap_ms > 0 && p->overlap_ms < p->ca_lifetime_ms / 10,
		  "AutoRollover is under a tenth of CACertificateLifetime: a router without auto-enroll asks for the next CA before there is one" },
		{ c->car.grant == CAR_GRANT_AUTO, "Grant=auto gives a certificate to whoever asks" },
		{ c->profile == CA_PROFILE_3DES, "Profile=3des accepts 3DES and SHA-1" },
		{ c->profile == CA_PROFILE_LEGACY, c->allow_des ? "Profile=legacy with AllowDES=yes accepts single DES and SHA-1" :
								  "Profile=legacy without AllowDES=yes is the same as Profile=3des" },
	};
	size_t n = sizeof(all) / sizeof(all[0]);

	for (size_t k = 0; k < n; k++) {
		if (all[k].on && i-- == 0) {
			(void) snprintf(buf, bytes, "%s", all[k].text); /* cut if the caller's place is small */
			return buf;
		}
	}
	return NULL;
}

const char *ca_conf_needs_restart(const struct ca_conf *running, const struct ca_conf *loaded)
{
	if (strcmp(running->issuer_name, loaded->issuer_name) != 0)
		return "IssuerName";
	if (strcmp(running->listen, loaded->listen) != 0)
		return "Listen";
	if (strcmp(running->db_path, loaded->db_path) != 0)
		return "[Database] URL";
	if (running->threads != loaded->threads || running->max_connections != loaded->max_connections ||
	    running->max_per_address != loaded->max_per_address || running->head_deadline_ms != loaded->head_deadline_ms ||
	    running->body_deadline_ms != loaded->body_deadline_ms)
		return "[HTTP]";
	return NULL;
}

const struct scep_policy *ca_conf_scep_policy(const struct ca_conf *c)
{
	switch (c->profile) {
	case CA_PROFILE_DEFAULT:
		return &scep_policy_default;
	case CA_PROFILE_3DES:
		return &scep_policy_3des;
	case CA_PROFILE_LEGACY:
		return c->allow_des ? &scep_policy_legacy : &scep_policy_3des;
	case CA_PROFILE_N_:
		break;
	}
	return &scep_policy_default;
}
