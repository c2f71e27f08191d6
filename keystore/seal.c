/* Sealing: see seal.h. The secret has 256 bits, so PBKDF2's rounds need not slow anybody down. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/pkcs12.h>
#include <openssl/rand.h>
#include <string.h>
#include <sys/stat.h>

#include "common/auto_ssl.h"
#include "common/fs.h"
#include "keystore/seal.h"

#define SECRET_NAME "machine-secret"
#define ROUNDS 1000

static void sig_free_(X509_SIG *p)
{
	X509_SIG_free(p);
}
AUTO_DEFINE(x509_sig, X509_SIG *, sig_free_);

/* A credential that keyroll-seal made ends with the word for what sealed it; any other is worth no more than a file. */
static const char *at_rest_of(const struct buf *b)
{
	static const char *const words[] = { "tpm2", "host" };

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (b->len == SEAL_SECRET_BYTES + SEAL_WORD_BYTES && memcmp(b->data + SEAL_SECRET_BYTES, words[i], SEAL_WORD_BYTES) == 0)
			return words[i];
	return b->len == SEAL_SECRET_BYTES ? "file" : NULL;
}

static int secret_read(const char *path, struct seal *ret, struct err *reterr)
{
	AUTO(buf) struct buf b = BUF_SECRET;
	struct stat st;
	int r = fs_read(path, SEAL_SECRET_BYTES + SEAL_WORD_BYTES + 1, &b, reterr);

	if (r < 0)
		return r;
	ret->at_rest = at_rest_of(&b);
	if (!ret->at_rest)
		return err_set(reterr, -EBADMSG, "%s is no machine secret (%zu bytes). The keys stay: bring the right one back", path, b.len);
	if (stat(path, &st) < 0 || (st.st_mode & 077) != 0)
		return err_set(reterr, -EPERM, "%s may be read by others (mode %04o), 0600 is wanted", path, st.st_mode & 07777);
	memcpy(ret->secret, b.data, SEAL_SECRET_BYTES);
	return 0;
}

int seal_open(const char *state_dir, struct seal *ret, struct err *reterr)
{
	const char *credentials = getenv("CREDENTIALS_DIRECTORY");
	AUTO(mem) char *path = NULL;
	int r;

	if (credentials) {
		if (asprintf(&path, "%s/" SECRET_NAME, credentials) < 0)
			return -ENOMEM;
		r = secret_read(path, ret, reterr);
		if (r != -ENOENT)
			return r;
		free(TAKE(path));
	}
	if (asprintf(&path, "%s/" SECRET_NAME, state_dir) < 0)
		return -ENOMEM;
	r = secret_read(path, ret, reterr);
	ret->at_rest = "file"; /* whatever it says of itself */
	if (r != -ENOENT)
		return r;
	if (RAND_priv_bytes(ret->secret, SEAL_SECRET_BYTES) != 1)
		return err_from_openssl(reterr, -EIO, "making the machine secret");
	return fs_write(path, ret->secret, SEAL_SECRET_BYTES, 0600, reterr);
}

void seal_clear(struct seal *s)
{
	OPENSSL_cleanse(s->secret, sizeof(s->secret));
}

int seal_wrap(const struct seal *s, const struct buf *plain, struct buf *ret, struct err *reterr)
{
	const unsigned char *p = plain->data;
	AUTO(p8) PKCS8_PRIV_KEY_INFO *p8 = d2i_PKCS8_PRIV_KEY_INFO(NULL, &p, (long) plain->len);
	AUTO(x509_sig) X509_SIG *blob = NULL;
	AUTO(der) unsigned char *der = NULL;
	unsigned char salt[16];
	int len;

	if (p8 && RAND_bytes(salt, sizeof(salt)) == 1)
		blob = PKCS8_encrypt(-1, EVP_aes_256_cbc(), (const char *) s->secret, SEAL_SECRET_BYTES, salt, sizeof(salt), ROUNDS, p8);
	len = blob ? i2d_X509_SIG(blob, &der) : -1;
	if (len <= 0)
		return err_from_openssl(reterr, -ENOMEM, "sealing a key");
	return buf_set(ret, der, (size_t) len);
}

int seal_unwrap(const struct seal *s, const struct buf *blob, struct buf *plain, struct err *reterr)
{
	const unsigned char *p = blob->data;
	AUTO(x509_sig) X509_SIG *sig = d2i_X509_SIG(NULL, &p, (long) blob->len);
	AUTO(p8) PKCS8_PRIV_KEY_INFO *p8 = sig ? PKCS8_decrypt(sig, (const char *) s->secret, SEAL_SECRET_BYTES) : NULL;
	unsigned char *der = NULL;
	int len = p8 ? i2d_PKCS8_PRIV_KEY_INFO(p8, &der) : -1, r;

	if (len <= 0)
		return err_from_openssl(reterr, -EBADMSG, "unsealing a key: damaged, or sealed under another machine secret. The file stays: "
							   "bring that secret back, or delete the key and enrol again");
	r = buf_set(plain, der, (size_t) len);
	OPENSSL_clear_free(der, (size_t) len);
	return r;
}

int seal_reject_key(const struct seal *s, const uint8_t random[32], uint8_t ret[32], struct err *reterr)
{
	uint8_t in[52];

	memcpy(in, "implicit-rejection: ", 20);
	memcpy(in + 20, random, 32);
	if (!EVP_Q_mac(NULL, "HMAC", NULL, "SHA256", NULL, s->secret, SEAL_SECRET_BYTES, in, sizeof(in), ret, 32, NULL))
		return err_from_openssl(reterr, -ENOMEM, "the key of implicit rejection");
	return 0;
}
