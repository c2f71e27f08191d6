/* Where a private key is and who computes with it: a table of functions for each level of protection. */
#ifndef KEYROLL_KEYSTORE_BACKEND_H
#define KEYROLL_KEYSTORE_BACKEND_H

#include <keyutils.h>
#include <openssl/evp.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/buf.h"
#include "common/err.h"
#include "keystore/ks.h"

struct backend_key { /* what a private operation needs */
	key_serial_t serial;
	int bits;
	EVP_PKEY *pub;
	EVP_PKEY *parsed; /* level keyring with KeepParsed: the private key, decoded; else NULL */
};

struct backend_digest { /* what is to be signed */
	const EVP_MD *md;
	const uint8_t *bytes; /* the digest */
	unsigned len;
	bool pss;
	unsigned salt_len; /* of PSS */
};

struct backend { /* NULL in the table: see "device" below */
	enum ks_protection protection;
	/* 0 when this machine has it, by trying: load, raw operation, compare, no read-back where that is promised. Else the reason, as
	 * -ENOPKG no PKCS#8 parser, -ENODEV no such keys, -EPERM or -ENOSYS forbidden, -EDQUOT, -EIO a wrong result, -ENOTSUP gives keys back. */
	int (*probe)(const struct buf *pkcs8, EVP_PKEY *pub, struct err *reterr);
	/* What the sealed copy holds (PKCS#8 DER; of a device its record) into ring under label, in place of another of that label. Returns the serial.
	 * -EDQUOT with numbers. */
	int (*load)(key_serial_t ring, const char *label, const struct buf *copy, key_serial_t *ret, struct err *reterr);
	/* The bare private operation: k bytes to k bytes, blinded. What it does takes as long whatever the result is, and of a faulty computation nothing comes
	 * out that would give the key away: -EIO. Blocks for 5 to 30 ms; any thread. -ENOKEY: the key is gone. NULL: a device. */
	int (*private_op)(const struct backend_key *key, const uint8_t *in, uint8_t *out, size_t k, struct err *reterr);
	/* 0 and the serial; -ENOKEY. */
	int (*find)(key_serial_t ring, const char *label, key_serial_t *ret);
	/* Destroys it. Gone already is success. */
	int (*remove)(key_serial_t ring, const char *label);
	/* Decodes the private key for KeepParsed; NULL where the key cannot be had. -ENOKEY: it is gone, or what lies there is none; -ENOMEM. */
	int (*parse)(key_serial_t serial, EVP_PKEY **ret, struct err *reterr);
	/* Of a device, which pads for itself and may block for a second or, making a key, a minute; NULL elsewhere. -ENODEV: it does not answer. */
	const struct backend_device *device;
};

struct backend_device {
	/* Asks it whether it is there; may take as long as it likes. hung: whether it took too long already, told at once. Errors as token_ready. */
	int (*ready)(struct err *reterr);
	int (*hung)(struct err *reterr);
	/* Makes a key, or finds the one that uri names (NULL: none), and gives its record, which is no secret. Errors as token_make and token_adopt. */
	int (*make)(int bits, const char *uri, struct buf *record, struct buf *spki, struct err *reterr);
	/* The record that lies at serial, and whether one is of the key with that public key: both without the device. -ENOKEY: none lies there. */
	int (*read)(key_serial_t serial, struct buf *ret, struct err *reterr);
	bool (*is)(const struct buf *record, const char *spki);
	int (*sign)(const struct backend_key *key, const struct backend_digest *d, uint8_t *out, size_t k, struct err *reterr);
	/* As private_op, of a PKCS#1 v1.5 ciphertext: the encoded block, or zeros when the device refuses it. */
	int (*open_pkcs1)(const struct backend_key *key, const uint8_t *in, uint8_t *em, size_t k, struct err *reterr);
	/* With an empty label and one digest. -EINVAL: refused. */
	int (*open_oaep)(const struct backend_key *key, const EVP_MD *md, const uint8_t *in, size_t k, uint8_t *out, size_t *ret_len, struct err *reterr);
};

extern const struct backend backend_kernel, backend_keyring, backend_token;

struct backend_levels { /* what the probes found at start */
	struct err why_not[KS_PROTECTION_N_]; /* code 0: to be had */
};
/* Tries each level with one throw-away key of 2048 bits, which is kept in probe_path (making one takes a slow router seconds). A level that is not
 * to be had is no error. -ENOMEM, or why the file cannot be written. */
int backend_probe(const char *probe_path, struct backend_levels *ret, struct err *reterr) CHECKED;
/* Whether the level is there: to be had or, with a full quota, not for another key: those that lie there are none the worse for it. */
bool backend_there(const struct backend_levels *l, enum ks_protection p);
/* The level named, or the best under AUTO, that is there. -ENOTSUP with the reason. */
int backend_choose(const struct backend_levels *l, enum ks_protection wanted, const struct backend **ret, struct err *reterr) CHECKED;
const struct backend *backend_get(enum ks_protection p); /* NULL: not built */

/* private_op, then the result raised to the public exponent must give the input back: -EIO. Of what may be known; a plaintext's time would tell of it. */
int backend_private(const struct backend *b, const struct backend_key *key, const uint8_t *in, uint8_t *out, size_t k, struct err *reterr) CHECKED;
/* A signature over the digest, verified before it leaves. -EIO: wrong, and withheld; -EINVAL; -ENOTSUP: not by this device. */
int backend_sign(const struct backend *b, const struct backend_key *key, const struct backend_digest *d, uint8_t *out, size_t k, struct err *reterr) CHECKED;
/* Whether the private half at key->serial belongs to key->pub: one private operation on random bytes; of a device a signature and a decryption. */
int backend_test(const struct backend *b, const struct backend_key *key, struct err *reterr) CHECKED;
/* in ^ e mod n with the public key: k bytes to k bytes. */
int backend_public(EVP_PKEY *pub, const uint8_t *in, uint8_t *out, size_t k, struct err *reterr) CHECKED;
/* PKCS#8 DER of a key that openssl made; ret must be a secret buffer. */
int backend_pkcs8(const EVP_PKEY *key, struct buf *ret, struct err *reterr) CHECKED;

#endif
