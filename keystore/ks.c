/* The door, client's side: each call is one request to the custodian; handles come from our own provider by URI. */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/provider.h>
#include <openssl/store.h>
#include <pthread.h>
#include <string.h>

#include "common/auto_ssl.h"
#include "common/x509facts.h"
#include "keystore/custody_conn.h"
#include "keystore/ks.h"
#include "keystore/provider.h"

struct ks {
	struct custody_pool *pool;
	char *socket;
};

static pthread_once_t provider_once = PTHREAD_ONCE_INIT;
static OSSL_PROVIDER *provider_default, *provider_keyroll; /* for the life of the process */

static void provider_unload(void)
{
	(void) OSSL_PROVIDER_unload(provider_keyroll); /* the process ends */
	(void) OSSL_PROVIDER_unload(provider_default);
}

/* The default provider first: whoever comes first serves the fetches that name no provider. */
static void provider_load(void)
{
	provider_default = OSSL_PROVIDER_load(NULL, "default");
	if (provider_default && OSSL_PROVIDER_add_builtin(NULL, "keyroll", provider_init))
		provider_keyroll = OSSL_PROVIDER_load(NULL, "keyroll");
	if (provider_keyroll && !OPENSSL_atexit(provider_unload))
		provider_keyroll = NULL;
}

int ks_open(const char *socket, struct ks **ret, struct err *reterr)
{
	AUTO(ks) struct ks *ks = calloc(1, sizeof(*ks));
	AUTO(fd) int fd = -1;
	int r;

	if (!ks)
		return -ENOMEM;
	(void) pthread_once(&provider_once, provider_load); /* cannot fail with a constant control */
	if (!provider_keyroll)
		return err_from_openssl(reterr, -ENOMEM, "loading the keyroll provider");
	ks->socket = strdup(socket);
	if (!ks->socket)
		return -ENOMEM;
	r = custody_connect(socket, &fd, reterr);
	if (r == 0)
		r = custody_pool_new(socket, &ks->pool, reterr);
	if (r == 0)
		*ret = TAKE(ks);
	return r;
}

void ks_close(struct ks *ks)
{
	if (ks->pool)
		custody_pool_free(ks->pool);
	free(ks->socket);
	free(ks);
}

static int request_set(struct custody_msg *m, enum custody_op op, const char *label, const char *spki, struct err *reterr)
{
	m->op = op;
	if (strlen(label) >= sizeof(m->label) || (spki && strlen(spki) != CUSTODY_SPKI_BYTES))
		return err_set(reterr, -EINVAL, "key label %s or its spki is not of the right length", label);
	strcpy(m->label, label);
	strcpy(m->spki, spki ? spki : "");
	return 0;
}

static int generate_start(struct ks *ks, const struct ks_spec *spec, int *ret_fd, struct err *reterr)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	AUTO(fd) int fd = -1;
	int r = request_set(&m, CUSTODY_OP_GENERATE, spec->label, NULL, reterr);

	if (r < 0)
		return r;
	m.slot = (uint8_t) spec->slot;
	m.protection = (uint8_t) spec->protection;
	m.number = (uint32_t) spec->bits;
	if (spec->token_uri && strlen(spec->token_uri) >= sizeof(m.text))
		return err_set(reterr, -EINVAL, "TokenURI=%.40s...: longer than %zu bytes", spec->token_uri, sizeof(m.text) - 1);
	strcpy(m.text, spec->token_uri ? spec->token_uri : "");
	if (custody_names_build(spec->users, &m.body) < 0 || custody_names_build(spec->groups, &m.body) < 0)
		return -ENOMEM;
	r = custody_connect(ks->socket, &fd, reterr);
	if (r == 0)
		r = custody_msg_send(fd, &m, reterr);
	if (r == 0 && fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
		r = err_set(reterr, -errno, "custodian's socket: %s", strerror(errno));
	if (r == 0)
		*ret_fd = TAKE_FD(fd);
	return r;
}

int ks_generate(struct ks *ks, const struct ks_spec *spec, int *fd, char ret_spki[KS_SPKI_HEX], struct err *reterr)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	static const struct custody_msg asked = { .op = CUSTODY_OP_GENERATE }; /* id 0: alone on its connection */
	int r;

	if (*fd < 0)
		return generate_start(ks, spec, fd, reterr);
	r = custody_msg_recv(*fd, &m, reterr);
	if (r == -EAGAIN)
		return r;
	(void) close(TAKE_FD(*fd)); /* its one reply has come, or never will */
	if (r == 0)
		r = custody_reply_check(&asked, &m, reterr);
	if (r == 0)
		memcpy(ret_spki, m.spki, KS_SPKI_HEX);
	return r;
}

static_assert(CUSTODY_TEXT_BYTES < KS_ADVICE_BYTES, "an advice fits");

static int facts_take(const struct custody_msg *m, struct ks_key *ret, struct err *reterr)
{
	char spki[X509F_SHA256_HEX];

	sha256_hex(m->body.data, m->body.len, spki);
	if (m->slot >= KS_SLOT_N_ || m->protection >= KS_PROTECTION_N_ || strlen(m->name) >= sizeof(ret->at_rest) || strcmp(spki, m->spki) != 0)
		return err_set(reterr, -EBADMSG, "the custodian's answer about key %s does not fit together", m->label);
	*ret = (struct ks_key){ .slot = m->slot, .protection = m->protection, .bits = (int) m->number };
	memcpy(ret->spki, spki, sizeof(ret->spki));
	strcpy(ret->at_rest, m->name);
	strcpy(ret->advice, m->text); /* of CUSTODY_TEXT_BYTES at most */
	return 0;
}

/* The handle, through the store as every OpenSSL program gets it, but from this custodian. */
static int handle_load(struct ks *ks, const char *label, const char *spki, EVP_PKEY **ret, struct err *reterr)
{
	AUTO(mem) char *uri = NULL;
	AUTO(uri_store) OSSL_STORE_CTX *store = NULL;
	OSSL_STORE_INFO *info;

	if (asprintf(&uri, "keyroll://%s?spki=%s&socket=%s", label, spki, ks->socket) < 0)
		return -ENOMEM;
	store = OSSL_STORE_open_ex(uri, NULL, "provider=keyroll", NULL, NULL, NULL, NULL, NULL);
	info = store ? OSSL_STORE_load(store) : NULL;
	*ret = info ? OSSL_STORE_INFO_get1_PKEY(info) : NULL;
	OSSL_STORE_INFO_free(info);
	return *ret ? 0 : err_from_openssl(reterr, -ENOKEY, "loading key %s from the custodian", label);
}

bool ks_key_suits(const struct ks_key *key, int bits, enum ks_protection protection)
{
	return key->bits == bits && (protection == KS_PROTECTION_AUTO || key->protection == protection);
}

int ks_load(struct ks *ks, const char *label, enum ks_slot slot, const char *spki, EVP_PKEY **ret_key, struct ks_key *ret_facts, struct err *reterr)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	AUTO(custody_msg) struct custody_msg reply = CUSTODY_MSG_EMPTY;
	struct ks_key facts;
	int r = request_set(&m, CUSTODY_OP_LOAD, label, spki, reterr);

	if (r < 0)
		return r;
	m.slot = (uint8_t) slot;
	r = custody_ask(ks->pool, &m, &reply, reterr);
	if (r == 0)
		r = facts_take(&reply, &facts, reterr);
	if (r == 0 && ret_key)
		r = handle_load(ks, label, facts.spki, ret_key, reterr);
	if (r == 0 && ret_facts)
		*ret_facts = facts;
	return r;
}

static int simple_ask(struct ks *ks, enum custody_op op, const char *label, const char *spki, struct err *reterr)
{
	AUTO(custody_msg) struct custody_msg m = CUSTODY_MSG_EMPTY;
	AUTO(custody_msg) struct custody_msg reply = CUSTODY_MSG_EMPTY;
	int r = request_set(&m, op, label, spki, reterr);

	return r < 0 ? r : custody_ask(ks->pool, &m, &reply, reterr);
}

int ks_promote(struct ks *ks, const char *label, const char *spki, struct err *reterr)
{
	return simple_ask(ks, CUSTODY_OP_PROMOTE, label, spki, reterr);
}

int ks_delete(struct ks *ks, const char *label, const char *spki, struct err *reterr)
{
	return simple_ask(ks, CUSTODY_OP_DELETE, label, spki, reterr);
}

int ks_level(struct ks *ks, enum ks_protection protection, struct err *reterr)
{
	AUTO(custody_msg) struct custody_msg m = { .op = CUSTODY_OP_LEVEL, .protection = (uint8_t) protection, .body = BUF_EMPTY };
	AUTO(custody_msg) struct custody_msg reply = CUSTODY_MSG_EMPTY;

	return custody_ask(ks->pool, &m, &reply, reterr);
}
