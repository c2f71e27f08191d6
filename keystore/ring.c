/* Keyrings: see ring.h. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/x509facts.h"
#include "keystore/ring.h"

/* This user's line of /proc/key-users: "uid: usage nkeys/nikeys qnkeys/maxkeys qnbytes/maxbytes". */
static void quota_text(char *out, size_t room)
{
	AUTO(file) FILE *f = fopen("/proc/key-users", "re");
	char line[256];

	(void) snprintf(out, room, "see /proc/key-users"); /* fits, as below */
	while (f && fgets(line, sizeof(line), f)) {
		unsigned uid;
		char keys[32], bytes[32];

		if (sscanf(line, " %u: %*s %*s %31s %31s", &uid, keys, bytes) == 3 && uid == getuid())
			(void) snprintf(out, room, "keys %s, bytes %s used", keys, bytes);
	}
}

int rings_error(int errnum, const char *what, struct err *reterr)
{
	char quota[96];

	if (errnum == EDQUOT) {
		quota_text(quota, sizeof(quota));
		return err_set(reterr, -EDQUOT, "%s: kernel key quota full (%s). Do: raise kernel.keys.maxkeys and kernel.keys.maxbytes", what, quota);
	}
	if (errnum == EPERM || errnum == ENOSYS)
		return err_set(reterr, -errnum, "%s: %s. Do: allow add_key, keyctl, request_key", what, strerror(errnum));
	return err_set(reterr, -errnum, "%s: %s", what, strerror(errnum));
}

static int ring_find(key_serial_t parent, const char *name, key_serial_t *ret, struct err *reterr)
{
	long id = keyctl_search(parent, "keyring", name, 0);

	if (id < 0 && (errno == ENOKEY || errno == EKEYREVOKED || errno == EKEYEXPIRED))
		id = add_key("keyring", name, NULL, 0, parent);
	if (id < 0)
		return rings_error(errno, name, reterr);
	*ret = (key_serial_t) id;
	return 0;
}

void rings_spare_make(struct rings *r)
{
	char name[80];

	(void) snprintf(name, sizeof(name), "%s.spare", r->name); /* fits */
	if (ring_find(r->anchor, name, &r->spare, NULL) < 0)
		r->spare = 0; /* what is for need may be missing */
}

int rings_move(const struct rings *r, key_serial_t id, enum ks_slot from, enum ks_slot to, struct err *reterr)
{
	long moved = keyctl_move(id, r->slot[from], r->slot[to], 0); /* without EXCL: it displaces an older one */

	if (moved < 0 && errno == EDQUOT) {
		(void) keyctl_unlink(r->spare, r->anchor); /* its four bytes are free at once; if it was given up before, so they are */
		moved = keyctl_move(id, r->slot[from], r->slot[to], 0);
	}
	return moved < 0 ? rings_error(errno, "moving a key to another slot", reterr) : 0;
}

int rings_renew(struct rings *r, struct err *reterr)
{
	char slot[80];
	int err = ring_find(KEY_SPEC_USER_KEYRING, r->name, &r->anchor, reterr);

	for (int i = 0; err == 0 && i < KS_SLOT_N_; i++) {
		(void) snprintf(slot, sizeof(slot), "%s.%s", r->name, ks_slot_name(i)); /* fits */
		err = ring_find(r->anchor, slot, &r->slot[i], reterr);
	}
	if (err == 0)
		rings_spare_make(r);
	return err;
}

int rings_session(struct err *reterr)
{
	if (keyctl_join_session_keyring(NULL) < 0 || keyctl_link(KEY_SPEC_USER_KEYRING, KEY_SPEC_SESSION_KEYRING) < 0)
		return rings_error(errno, "session keyring", reterr);
	return 0;
}

int rings_open(const char *state_dir, struct rings *ret, struct err *reterr)
{
	AUTO(mem) char *path = realpath(state_dir, NULL);
	char hash[X509F_SHA256_HEX];

	if (!path)
		return err_set(reterr, -errno, "%s: %s", state_dir, strerror(errno));
	sha256_hex(path, strlen(path), hash);
	(void) snprintf(ret->name, sizeof(ret->name), "keyroll:%.24s", hash); /* fits */
	return rings_renew(ret, reterr);
}

void rings_drop(const struct rings *r)
{
	(void) keyctl_clear(r->anchor); /* best effort: what cannot be dropped stays for the next start to find */
	(void) keyctl_unlink(r->anchor, KEY_SPEC_USER_KEYRING);
}

int rings_sweep(key_serial_t ring, bool (*keep)(void *userdata, const char *type, const char *description), void *userdata, struct err *reterr)
{
	void *list = NULL;
	int bytes = keyctl_read_alloc(ring, &list);
	const key_serial_t *ids = list;

	if (bytes < 0)
		return rings_error(errno, "reading a slot's keyring", reterr);
	for (size_t i = 0; i < (size_t) bytes / sizeof(*ids); i++) {
		char *text = NULL, *description;

		/* "type;uid;gid;perm;description" */
		description = keyctl_describe_alloc(ids[i], &text) > 0 ? strrchr(text, ';') : NULL;
		if (description)
			text[strcspn(text, ";")] = '\0';
		if (!description || !keep(userdata, text, description + 1))
			(void) keyctl_unlink(ids[i], ring); /* gone already is as good */
		free(text);
	}
	free(list);
	return 0;
}

int rings_key_find(key_serial_t ring, const char *type, const char *label, key_serial_t *ret)
{
	long id = keyctl_search(ring, type, label, 0);

	if (id < 0)
		return -ENOKEY;
	*ret = (key_serial_t) id;
	return 0;
}

struct key_name {
	const char *type, *label;
};

static bool keep_others(void *userdata, const char *type, const char *description)
{
	const struct key_name *n = userdata;

	return strcmp(type, n->type) != 0 || strcmp(description, n->label) != 0;
}

int rings_key_remove(key_serial_t ring, const char *type, const char *label)
{
	struct key_name name = { .type = type, .label = label };
	key_serial_t id;
	bool moved;
	int r;

	/* A revoked or expired key cannot be found or described, and its payload stays for minutes: whatever has no description is unlinked. One whose
	 * permissions somebody has taken away may be described, and not found. */
	if (rings_key_find(ring, type, label, &id) < 0)
		return rings_sweep(ring, keep_others, &name, NULL);
	/* the kernel gives the quota of a link back when it is unlinked or cleared, not when its collector takes it out: the key dies where all is cleared.
	 * With a full quota there is no room to move it */
	moved = keyctl_move(id, ring, KEY_SPEC_PROCESS_KEYRING, 0) == 0;
	/* invalidated, not only unlinked: a second link or a possessor elsewhere must not keep it alive */
	r = keyctl_invalidate(id) < 0 && errno != ENOKEY ? -errno : 0;
	if (moved)
		(void) keyctl_clear(KEY_SPEC_PROCESS_KEYRING); /* cannot fail: it is ours */
	return r;
}

int rings_key_add(key_serial_t ring, const char *type, const char *label, const struct buf *data, key_serial_t *ret)
{
	key_serial_t id = add_key(type, label, data->data, data->len, ring);

	if (id < 0 && errno == EACCES && rings_key_remove(ring, type, label) == 0) /* one lies there that does not let itself be overwritten */
		id = add_key(type, label, data->data, data->len, ring);
	if (id < 0)
		return -errno;
	*ret = id;
	return 0;
}
