/* GetCert and GetCRL. Certificates and CRLs are public: whoever signs with a key may ask, but for what we revoked. */
#include <errno.h>
#include <string.h>

#include "ca/service_internal.h"

int service_serial_text(const ASN1_INTEGER *serial, char ret[DB_SERIAL_HEX])
{
	AUTO(bn) BIGNUM *n = NULL;
	AUTO(der) unsigned char *hex = NULL;
	const char *digits;

	n = serial ? ASN1_INTEGER_to_BN(serial, NULL) : NULL;
	hex = n && BN_num_bytes(n) <= 20 ? (unsigned char *) BN_bn2hex(n) : NULL;
	if (!hex)
		return err_from_openssl(NULL, -EINVAL, "serial number");
	digits = (const char *) hex;
	while (digits[0] == '0' && digits[1])
		digits++;
	(void) snprintf(ret, DB_SERIAL_HEX, "%s", digits); /* 20 bytes fit */
	return 0;
}

/* False when a was filled already. */
static bool may_ask(struct exchange *x, struct answer *a)
{
	struct signer_facts signer;
	struct err why = { 0 };
	int r;

	r = service_signer_judge(x, &signer, &why);
	if (r < 0)
		answer_unavailable(a, SERVICE_RETRY_AFTER_SEC, err_text(&why, r));
	else if (signer.who == CAR_SIGNER_REVOKED)
		answer_fail(a, SCEP_FAIL_BAD_MESSAGE_CHECK, "the signer's certificate is revoked");
	return r == 0 && signer.who != CAR_SIGNER_REVOKED;
}

/* The role that issued issuer+serial, CAR_RECIPIENT_N_ when none did; names are equal in all roles, so the serial tells. */
static int issuer_find(struct exchange *x, const char *serial, struct db_cert *ret, enum car_recipient *ret_role, struct err *reterr)
{
	int i, r;

	*ret_role = CAR_RECIPIENT_N_;
	for (i = 0; i < CAR_RECIPIENT_N_; i++) {
		const struct view_role *role = &x->view->role[i];

		if (!role->cert || X509_NAME_cmp(X509_get_subject_name(role->cert), x->req.query_issuer) != 0)
			continue;
		r = db_cert_get(x->service->o.db, role->facts.spki_sha256, serial, ret, reterr);
		if (r == 0)
			*ret_role = (enum car_recipient) i;
		if (r != -ENOENT)
			return r;
	}
	return 0;
}

void service_get_cert(struct exchange *x, struct answer *a)
{
	AUTO(db_cert) struct db_cert c = { 0 };
	char serial[DB_SERIAL_HEX];
	enum car_recipient role;
	struct err why = { 0 };
	int r;

	if (!may_ask(x, a))
		return;
	if (service_serial_text(x->req.query_serial, serial) < 0) {
		answer_fail(a, SCEP_FAIL_BAD_CERT_ID, "serial number out of range");
		return;
	}
	r = issuer_find(x, serial, &c, &role, &why);
	if (r == 0 && (role == CAR_RECIPIENT_N_ || c.der.len == 0)) {
		answer_fail(a, SCEP_FAIL_BAD_CERT_ID, "no such certificate");
		return;
	}
	if (r == 0)
		r = x509_from_der(c.der.data, c.der.len, &a->cert, &why);
	if (r < 0)
		answer_unavailable(a, SERVICE_RETRY_AFTER_SEC, err_text(&why, r));
	else
		a->status = SCEP_STATUS_SUCCESS;
}

/* Which CRL: of the key that issued the named certificate; for one that we do not know (the CA's own), of the key that was addressed. */
void service_get_crl(struct exchange *x, struct answer *a)
{
	AUTO(db_cert) struct db_cert c = { 0 };
	char serial[DB_SERIAL_HEX];
	enum car_recipient role = CAR_RECIPIENT_N_;
	const unsigned char *p;
	const struct buf *der;
	struct err why = { 0 };
	int r = 0;

	if (!may_ask(x, a))
		return;
	if (service_serial_text(x->req.query_serial, serial) == 0)
		r = issuer_find(x, serial, &c, &role, &why);
	if (r < 0) {
		answer_unavailable(a, SERVICE_RETRY_AFTER_SEC, err_text(&why, r));
		return;
	}
	der = &x->view->role[role == CAR_RECIPIENT_N_ ? x->role : role].crl.der;
	p = der->data;
	a->crl = p ? d2i_X509_CRL(NULL, &p, (long) der->len) : NULL;
	if (a->crl) {
		a->status = SCEP_STATUS_SUCCESS;
		return;
	}
	(void) err_from_openssl(NULL, 0, "said below");
	answer_unavailable(a, SERVICE_RETRY_AFTER_SEC, "there is no CRL yet");
}
