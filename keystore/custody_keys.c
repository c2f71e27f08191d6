/* Finding, loading, promoting, deleting and listing keys: what the loop answers at once. */
#include <errno.h>
#include <string.h>

#include "common/log.h"
#include "keystore/custody_server_internal.h"
#include "keystore/level.h"

int keys_find(const struct server *s, const struct client *c, const struct custody_msg *m, struct vault_key **ret, struct err *reterr)
{
	struct vault_key *k = NULL;

	if (m->spki[0] != '\0')
		k = vault_find_spki(s->vault, m->label, m->spki);
	else if (m->slot < KS_SLOT_N_)
		k = vault_find(s->vault, m->label, (enum ks_slot) m->slot);
	if (!k)
		return err_set(reterr, -ENOKEY, "there is no key %s%s", m->label, m->spki[0] != '\0' ? " with that public key" : " in that slot");
	if (!peer_may_use(&c->peer, k))
		return err_set(reterr, -EACCES, "user %u may not use key %s", (unsigned) c->peer.uid, m->label);
	*ret = k;
	return 0;
}

/* It is not the key's fault, and may have passed when it is asked for again. Not -EIO: a copy that computes wrongly stays so. */
static bool passes(int r)
{
	return r == -EDQUOT || r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -EAGAIN || r == -ETIMEDOUT || r == -ECANCELED;
}

int keys_recover(struct server *s, struct vault_key *k, struct err *reterr)
{
	const key_serial_t was = k->material.serial;
	const bool stale = vault_is_stale(s->vault, k);
	int r;

	server_quiesce(s);
	r = vault_restore(s->vault, k, reterr);
	server_resume(s);

	if (r == 0) {
		if (stale)
			log_line(LOG_WARNING, "key %s was changed in its keyring and is restored", k->label);
		else if (k->material.serial == was)
			log_line(LOG_WARNING, "key %s gave no good result, but is where it was", k->label);
		else
			log_line(LOG_WARNING, "key %s was gone from its keyring and is restored", k->label);
		return 0;
	}
	log_event(LOG_EV_KEY_REFUSED, NULL, "key %s %s: %s", k->label, r == -ENODATA ? "is lost" : "cannot be restored", err_text(reterr, r));
	if (r == -ENODATA && vault_delete(s->vault, k, NULL) < 0)
		log_line(LOG_WARNING, "key %s still has its slot", k->label);
	return passes(r) ? -EBUSY : -ENOKEY;
}

int keys_load(struct server *s, struct client *c, const struct custody_msg *m, struct err *reterr)
{
	AUTO(custody_msg) struct custody_msg reply = { .op = m->op, .id = m->id, .body = BUF_EMPTY };
	struct vault_key *k = NULL;
	int r = keys_find(s, c, m, &k, reterr);

	if (r == 0 && k->material.serial == 0)
		r = keys_recover(s, k, reterr);
	if (r < 0)
		return r;
	reply.slot = (uint8_t) k->slot;
	reply.protection = (uint8_t) k->protection;
	reply.number = (uint32_t) k->material.bits;
	strcpy(reply.label, k->label);
	strcpy(reply.spki, k->spki);
	strcpy(reply.name, vault_at_rest(s->vault, k));
	vault_advice(s->vault, k, reply.text);
	r = buf_set(&reply.body, k->spki_der.data, k->spki_der.len);
	if (r < 0)
		return r;
	client_reply(c, &reply);
	return 1;
}

int keys_promote(struct server *s, const struct client *c, const struct custody_msg *m, struct err *reterr)
{
	struct vault_key *k = vault_find_spki(s->vault, m->label, m->spki);
	bool moves;
	int r;

	if (!k)
		return err_set(reterr, -ENOKEY, "there is no key %s with that public key", m->label);
	if (!peer_may_own(&c->peer, k))
		return err_set(reterr, -EACCES, "user %u may not promote key %s", (unsigned) c->peer.uid, m->label);
	moves = k->slot == KS_SLOT_SHADOW;
	if (moves && making_has(s, m->label)) /* it may be on its way into the slot that this one is to have */
		return err_set(reterr, -EBUSY, "a key %s is being made: promote later", m->label);
	r = vault_promote(s->vault, k, reterr);
	if (r == 0 && moves)
		log_event(LOG_EV_KEY_PROMOTED, NULL, "key %s# is now %s", k->label, k->label);
	return r;
}

static int delete_one(struct server *s, const struct client *c, struct vault_key *k, struct err *reterr)
{
	AUTO(vault_key) struct vault_key *held = vault_key_ref(k); /* for the log, after the vault has let it go */
	enum ks_slot slot = k->slot;
	int r;

	if (!peer_may_own(&c->peer, k))
		return err_set(reterr, -EACCES, "user %u may not delete key %s", (unsigned) c->peer.uid, k->label);
	r = vault_delete(s->vault, k, reterr);
	if (r == 0)
		log_event(LOG_EV_KEY_DELETED, NULL, "key %s, slot %s", held->label, ks_slot_name(slot));
	else
		log_line(LOG_ERR, "key %s is not deleted: %s", k->label, err_text(reterr, r));
	return r;
}

int keys_delete(struct server *s, const struct client *c, const struct custody_msg *m, struct err *reterr)
{
	struct vault_key *k;
	int r = 0;

	if (m->spki[0] != '\0') {
		k = vault_find_spki(s->vault, m->label, m->spki);
		return k ? delete_one(s, c, k, reterr) : 0;
	}
	for (int i = 0; i < KS_SLOT_N_; i++) { /* one that fails keeps none of the others alive */
		struct err e = { .code = 0 };
		int one;

		k = vault_find(s->vault, m->label, (enum ks_slot) i);
		one = k ? delete_one(s, c, k, &e) : 0;
		if (one < 0)
			r = err_set(reterr, one, "%s", err_text(&e, one));
	}
	return r;
}

int keys_list(struct server *s, struct client *c, const struct custody_msg *m)
{
	AUTO(custody_msg) struct custody_msg reply = { .op = m->op, .id = m->id, .body = BUF_EMPTY };

	for (size_t i = 0; i < s->vault->n_keys; i++) {
		const struct vault_key *k = s->vault->keys[i];
		char line[256];
		int n;

		if (!peer_may_use(&c->peer, k))
			continue;
		n = snprintf(line, sizeof(line), "%s %s %s %d %s %s\n", k->label, ks_slot_name(k->slot), k->spki, k->material.bits,
			     ks_protection_name(k->protection), k->material.serial == 0 ? "lost" : vault_at_rest(s->vault, k));
		if (n < 0 || (size_t) n >= sizeof(line) || buf_add(&reply.body, line, (size_t) n) < 0)
			return -ENOMEM;
	}
	client_reply(c, &reply);
	return 1;
}

/* Only for those who may make keys, since trying costs something. */
int keys_level(struct server *s, struct client *c, const struct custody_msg *m, struct err *reterr)
{
	const struct backend *b;

	if (!peer_may_make(&c->peer, s->o->makers))
		return err_set(reterr, -EACCES, "user %u may not make keys", (unsigned) c->peer.uid);
	if (m->protection >= KS_PROTECTION_N_)
		return err_set(reterr, -EINVAL, "protection %u is not known", m->protection);
	if (m->protection == KS_PROTECTION_AUTO)
		return 0;
	if (m->protection == KS_PROTECTION_TOKEN && s->device_jobs)
		return device_level(s, c, m, reterr);
	return level_find(s->vault->dir, (enum ks_protection) m->protection, &s->vault->levels, &b, reterr);
}
