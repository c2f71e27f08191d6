/* Keys and their line in LABEL.keys: slot, level (with "!" when it was named), bits, maker's uid, users, groups, random bytes of implicit rejection,
 * public key. */
#include <errno.h>
#include <openssl/crypto.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/x509facts.h"
#include "keystore/keymeta.h"

int vault_key_new(const char *label, enum ks_slot slot, struct vault_key **ret)
{
	struct vault_key *k = calloc(1, sizeof(*k));

	if (!k || strlen(label) >= sizeof(k->label)) {
		free(k);
		return -ENOMEM;
	}
	k->refs = 1;
	k->slot = slot;
	strcpy(k->label, label);
	*ret = k;
	return 0;
}

struct vault_key *vault_key_ref(struct vault_key *k)
{
	k->refs++;
	return k;
}

void vault_key_unref(struct vault_key *k)
{
	if (!k || --k->refs > 0)
		return;
	EVP_PKEY_free(k->material.pub);
	EVP_PKEY_free(k->material.parsed);
	buf_clear(&k->users);
	buf_clear(&k->groups);
	buf_clear(&k->spki_der);
	OPENSSL_cleanse(k->reject_key, sizeof(k->reject_key));
	free(k);
}

int vault_key_set_public(struct vault_key *k, const uint8_t *der, size_t len, struct err *reterr)
{
	const unsigned char *p = der;
	AUTO(pkey) EVP_PKEY *pub = d2i_PUBKEY(NULL, &p, (long) len);

	if (!pub || p != der + len || !EVP_PKEY_is_a(pub, "RSA"))
		return err_from_openssl(reterr, -EBADMSG, "public key of %s", k->label);
	if (buf_set(&k->spki_der, der, len) < 0)
		return -ENOMEM;
	sha256_hex(der, len, k->spki);
	k->material.bits = EVP_PKEY_get_bits(pub);
	EVP_PKEY_free(k->material.pub);
	k->material.pub = TAKE(pub);
	return 0;
}

static int hex_add(struct buf *append, const uint8_t *data, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	char pair[2];

	for (size_t i = 0; i < len; i++) {
		pair[0] = digits[data[i] >> 4];
		pair[1] = digits[data[i] & 15];
		if (buf_add(append, pair, 2) < 0)
			return -ENOMEM;
	}
	return 0;
}

static const char *names_text(const struct buf *names)
{
	return names->len > 0 ? (const char *) names->data : "-";
}

enum ks_protection vault_key_made_at(const struct vault_key *k)
{
	return k->made_at == KS_PROTECTION_AUTO ? k->protection : k->made_at;
}

int keymeta_build(const struct vault_key *k, struct buf *append)
{
	AUTO(mem) char *head = NULL;
	int n = asprintf(&head, "%s %s%s %d %u %s %s ", ks_slot_name(k->slot), ks_protection_name(vault_key_made_at(k)), k->named ? "!" : "",
			 k->material.bits, (unsigned) k->uid, names_text(&k->users), names_text(&k->groups));

	if (n < 0 || buf_add(append, head, (size_t) n) < 0 || hex_add(append, k->reject_random, sizeof(k->reject_random)) < 0 ||
	    buf_add(append, " ", 1) < 0 || hex_add(append, k->spki_der.data, k->spki_der.len) < 0)
		return -ENOMEM;
	return buf_add(append, "\n", 1);
}

static int word_find(const char *word, const char *(*name)(int), int n)
{
	for (int i = 0; i < n; i++)
		if (strcmp(word, name(i)) == 0)
			return i;
	return -1;
}

static const char *slot_word(int i)
{
	return ks_slot_name((enum ks_slot) i);
}

static const char *protection_word(int i)
{
	return ks_protection_name((enum ks_protection) i);
}

/* Cuts the mark off the word. */
static bool mark_take(char *word)
{
	size_t len = strlen(word);

	if (len == 0 || word[len - 1] != '!')
		return false;
	word[len - 1] = '\0';
	return true;
}

static int names_take(const char *word, struct buf *ret)
{
	return strcmp(word, "-") == 0 ? 0 : buf_set(ret, word, strlen(word));
}

enum { W_SLOT, W_PROTECTION, W_BITS, W_UID, W_USERS, W_GROUPS, W_RANDOM, W_SPKI, W_N_ };

static int words_take(char *line, char *w[W_N_])
{
	int n = 0;

	while (line && n < W_N_)
		w[n++] = strsep(&line, " ");
	return n == W_N_ && !line ? 0 : -EBADMSG;
}

static int line_parse(const char *label, char *line, struct vault_key **ret, struct err *reterr)
{
	AUTO(vault_key) struct vault_key *k = NULL;
	AUTO(der) unsigned char *spki = NULL;
	char *w[W_N_];
	size_t random_len;
	long spki_len;
	bool named;
	int slot, protection;

	if (words_take(line, w) < 0)
		return err_set(reterr, -EBADMSG, "keys of %s: a line without %d words", label, W_N_);
	named = mark_take(w[W_PROTECTION]);
	slot = word_find(w[W_SLOT], slot_word, KS_SLOT_N_);
	protection = word_find(w[W_PROTECTION], protection_word, KS_PROTECTION_N_);
	if (slot < 0 || protection < 0 || !backend_get((enum ks_protection) protection))
		return err_set(reterr, -EBADMSG, "keys of %s: slot '%s' at level '%s'", label, w[W_SLOT], w[W_PROTECTION]);
	if (vault_key_new(label, (enum ks_slot) slot, &k) < 0)
		return -ENOMEM;
	k->protection = (enum ks_protection) protection;
	k->named = named;
	k->uid = (uid_t) strtoul(w[W_UID], NULL, 10);
	if (names_take(w[W_USERS], &k->users) < 0 || names_take(w[W_GROUPS], &k->groups) < 0)
		return -ENOMEM;
	if (!OPENSSL_hexstr2buf_ex(k->reject_random, sizeof(k->reject_random), &random_len, w[W_RANDOM], '\0') || random_len != 32)
		return err_from_openssl(reterr, -EBADMSG, "keys of %s: not 32 random bytes", label);
	spki = OPENSSL_hexstr2buf(w[W_SPKI], &spki_len);
	if (!spki)
		return err_from_openssl(reterr, -EBADMSG, "keys of %s: public key", label);
	if (vault_key_set_public(k, spki, (size_t) spki_len, reterr) < 0)
		return -EBADMSG;
	*ret = TAKE(k);
	return 0;
}

int keymeta_parse(const char *label, const struct buf *text, struct vault_key *ret[KS_SLOT_N_], struct err *reterr)
{
	AUTO(mem) char *copy = text->len > 0 ? strndup((const char *) text->data, text->len) : NULL;
	char *rest = copy, *line;
	int r = 0;

	for (int i = 0; i < KS_SLOT_N_; i++)
		ret[i] = NULL;
	if (!copy || strncmp(copy, KEYMETA_HEAD, strlen(KEYMETA_HEAD)) != 0)
		return err_set(reterr, -EBADMSG, "keys of %s: not a file of keys", label);
	rest += strlen(KEYMETA_HEAD);
	while (r == 0 && (line = strsep(&rest, "\n")) && *line) {
		struct vault_key *k = NULL;

		r = line_parse(label, line, &k, reterr);
		if (r == 0 && ret[k->slot])
			r = err_set(reterr, -EBADMSG, "keys of %s: two in slot %s", label, ks_slot_name(k->slot));
		if (r == 0)
			ret[k->slot] = k;
		else
			vault_key_unref(k);
	}
	for (int i = 0; r < 0 && i < KS_SLOT_N_; i++)
		vault_key_unref(TAKE(ret[i]));
	return r;
}
