/* `keyroll-cad --init NAME`: the signer makes the key, the CA's certificate is made over it, and the fingerprint to be pinned is the last line.
 * Cut off anywhere, it can be run again. */
#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <systemd/sd-daemon.h>

#include "ca/cad.h"
#include "ca/material.h"
#include "ca/selfsign.h"
#include "common/auto_ssl.h"
#include "common/clk.h"
#include "common/fs.h"

#define GENERATE_TIMEOUT_MS 120000 /* RSA-4096 on a small machine */

static int key_wait(struct signer *s, int *fd, char spki[KS_SPKI_HEX], struct err *reterr)
{
	struct pollfd p = { .fd = *fd, .events = POLLIN };
	int r;

	do {
		r = poll(&p, 1, GENERATE_TIMEOUT_MS);
		if (r < 0 && errno != EINTR)
			return err_set(reterr, -errno, "waiting for the key");
		if (r == 0)
			return err_set(reterr, -ETIMEDOUT, "the signer has not made the key within %d s", GENERATE_TIMEOUT_MS / 1000);
		r = signer_generate(s, KS_SLOT_ACTIVE, 0, KS_PROTECTION_AUTO, fd, spki, reterr);
	} while (r == -EAGAIN);
	return r;
}

static int key_get(struct signer *s, const struct ca_conf *conf, EVP_PKEY **ret, struct ks_key *ret_facts, struct err *reterr)
{
	AUTO(fd) int fd = -1;
	char spki[KS_SPKI_HEX];
	int r;

	r = signer_generate(s, KS_SLOT_ACTIVE, (int) conf->key_bits, conf->protection, &fd, spki, reterr);
	if (r == 0)
		r = key_wait(s, &fd, spki, reterr);
	return r < 0 ? r : signer_load(s, KS_SLOT_ACTIVE, spki, ret, ret_facts, reterr);
}

/* Of an attempt that was cut off: the file may have changed since, and nothing has that key yet. Unless the CA has lived, and lost its certificate. */
static int key_delete(struct signer *s, const struct ca_conf *conf, const struct ks_key *key, struct err *reterr)
{
	if (access(conf->db_path, F_OK) == 0)
		return err_set(reterr, -EEXIST, "the CA has a database (%s) and a key of %d bits at level %s, and its file wants another key. Do: set KeySize= and "
			       "Protection= back to make its certificate again, or remove the database to begin anew", conf->db_path, key->bits,
			       ks_protection_name(key->protection));
	return signer_delete(s, key->spki, reterr);
}

static int key_make(struct signer *s, const struct ca_conf *conf, EVP_PKEY **ret, struct ks_key *ret_facts, struct err *reterr)
{
	int r = key_get(s, conf, ret, ret_facts, reterr);

	if (r < 0 || ks_key_suits(ret_facts, (int) conf->key_bits, conf->protection))
		return r;
	EVP_PKEY_free(TAKE(*ret));
	r = key_delete(s, conf, ret_facts, reterr);
	return r < 0 ? r : key_get(s, conf, ret, ret_facts, reterr);
}

static int certificate_make(const struct ca_conf *conf, EVP_PKEY *key, X509 **ret, struct err *reterr)
{
	AUTO(name) X509_NAME *name = NULL;
	struct selfsign in = { .key = key, .hash = conf->hash };
	const struct tp_now now = { .wall.ms = clk_wall_ms(), .boot.ms = clk_boot_ms(), .trusted = clk_trusted(conf->clock) };
	int r;

	if (!now.trusted)
		return err_set(reterr, -ETIME,
			       "the clock is not synchronised, so no certificate is made (Clock=assume-valid if it is right)");
	r = x509_name_parse(conf->issuer_name, &name, reterr);
	if (r < 0)
		return r;
	in.name = name;
	in.validity = cal_first_validity(&conf->cal, &now);
	return selfsign_make(&in, ret, reterr);
}

static int facts_print(X509 *cert, const struct ks_key *key, struct err *reterr)
{
	char nb[CLK_RFC3339_BYTES], na[CLK_RFC3339_BYTES];
	struct x509_facts facts;
	int r;

	r = x509_facts_get(cert, &facts, reterr);
	if (r < 0)
		return r;
	(void) printf("Subject: %s\nSerial: %s\nNot before: %s\nNot after: %s\n", facts.subject, facts.serial,
		      clk_rfc3339(facts.nb_sec, nb), clk_rfc3339(facts.na_sec, na)); /* a closed stdout is found by the flush */
	(void) printf("Key: RSA %d, protection %s, at rest %s\n", facts.bits, ks_protection_name(key->protection), key->at_rest);
	(void) printf("CAFingerprint=sha256:%s\n", facts.sha256);
	return fflush(stdout) == 0 ? 0 : err_set(reterr, -EIO, "standard output is closed");
}

static int init_fresh(const struct cad_options *o, const struct ca_conf *conf, struct err *reterr)
{
	AUTO(signer) struct signer *signer = NULL;
	AUTO(pkey) EVP_PKEY *key = NULL;
	AUTO(x509) X509 *cert = NULL;
	struct ks_key facts = { 0 };
	int r;

	if ((r = signer_new(NULL, o->name, o->verbose, &signer, reterr)) < 0 || (r = key_make(signer, conf, &key, &facts, reterr)) < 0 ||
	    (r = certificate_make(conf, key, &cert, reterr)) < 0 || (r = material_store(o->name, CAR_RECIPIENT_ACTIVE, cert, reterr)) < 0)
		return r;
	return facts_print(cert, &facts, reterr);
}

/* Where systemd runs the signer, its key must not be made by one of ours: other user, other keyring, other seal. */
static int signer_expect(const char *name, struct err *reterr)
{
	AUTO(mem) char *path = fs_path("/run/keyroll/signer/%s.sock", name);

	if (!path)
		return err_set(reterr, -ENOMEM, "signer");
	if (sd_booted() <= 0 || *fs_root() || access(path, F_OK) == 0)
		return 0;
	return err_set(reterr, -ENOENT, "no signer listens. Do: systemctl start keyroll-signer@%s.socket", name);
}

int init_run(const struct cad_options *o, struct err *reterr)
{
	AUTO(ca_conf) struct ca_conf *conf = NULL;
	AUTO(x509) X509 *there = NULL;
	struct x509_facts facts = { 0 };
	int r;

	if ((r = ca_conf_load(o->name, &conf, reterr)) < 0 || (r = material_folder_make(o->name, reterr)) < 0)
		return r;
	r = material_load(o->name, CAR_RECIPIENT_ACTIVE, &there, reterr);
	if (r == -ENOENT) {
		r = signer_expect(o->name, reterr);
		return r < 0 ? r : init_fresh(o, conf, reterr);
	}
	if (r < 0)
		return r;
	r = x509_facts_get(there, &facts, reterr);
	return r < 0 ? r : err_set(reterr, -EEXIST, "CA %s has a certificate already: CAFingerprint=sha256:%s", o->name, facts.sha256);
}
