/* Custody's records: everything that came from a peer is checked here, before anything looks at it. */
#include <ctype.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "keystore/custody_proto.h"

#define MAGIC 0x4b52 /* "KR" */
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

static uint16_t get16(const uint8_t *p)
{
	uint16_t v;

	memcpy(&v, p, sizeof(v));
	return be16toh(v);
}

static uint32_t get32(const uint8_t *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return be32toh(v);
}

static void put16(uint8_t *p, uint16_t v)
{
	v = htobe16(v);
	memcpy(p, &v, sizeof(v));
}

static void put32(uint8_t *p, uint32_t v)
{
	v = htobe32(v);
	memcpy(p, &v, sizeof(v));
}

void custody_msg_clear(struct custody_msg *m)
{
	bool secret = m->body.secret;

	buf_clear(&m->body);
	*m = CUSTODY_MSG_EMPTY;
	m->body.secret = secret;
}

static int text_take(const uint8_t **p, size_t len, size_t max, uint8_t lowest, char *out, const char *what, struct err *reterr)
{
	if (len > max)
		return err_set(reterr, -EBADMSG, "custody record: %s of %zu bytes, at most %zu", what, len, max);
	for (size_t i = 0; i < len; i++)
		if ((*p)[i] < lowest || (*p)[i] > '~')
			return err_set(reterr, -EBADMSG, "custody record: byte 0x%02x in %s, printable ASCII is wanted", (*p)[i], what);
	memcpy(out, *p, len);
	out[len] = '\0';
	*p += len;
	return 0;
}

static int header_check(const uint8_t *h, size_t len, struct err *reterr)
{
	if (len < CUSTODY_HEADER_BYTES || get16(h) != MAGIC)
		return err_set(reterr, -EBADMSG, "not a custody record (%zu bytes)", len);
	if (h[2] != CUSTODY_VERSION)
		return err_set(reterr, -EBADMSG, "custody record of version %u, version %d is spoken here", h[2], CUSTODY_VERSION);
	if (h[3] >= CUSTODY_OP_N_)
		return err_set(reterr, -EBADMSG, "custody record: unknown operation %u", h[3]);
	if (h[15] & ~CUSTODY_FLAG_FD)
		return err_set(reterr, -EBADMSG, "custody record: unknown flags 0x%02x", h[15]);
	if (h[3] != CUSTODY_OP_LOAD && h[3] != CUSTODY_OP_GENERATE && get16(h + 26) != 0)
		return err_set(reterr, -EBADMSG, "custody record: a text beside operation %u, which has none", h[3]);
	return 0;
}

static int spki_check(const char *spki, struct err *reterr)
{
	size_t len = strlen(spki);

	if ((len != 0 && len != CUSTODY_SPKI_BYTES) || strspn(spki, "0123456789abcdef") != len)
		return err_set(reterr, -EBADMSG, "custody record: spki is not 64 lower-case hex digits");
	return 0;
}

static void header_take(const uint8_t *h, struct custody_msg *m)
{
	m->op = h[3];
	m->id = get32(h + 4);
	m->status = (int32_t) get32(h + 8);
	m->slot = h[12];
	m->padding = h[13];
	m->protection = h[14];
	m->number = get32(h + 16);
}

/* The lengths that the header gives, against the record's own. */
struct lengths {
	size_t label, spki, name, text, body, by_record;
};

static int lengths_take(const uint8_t *h, size_t len, struct lengths *ret, struct err *reterr)
{
	size_t sum;

	*ret = (struct lengths){ .label = get16(h + 20), .spki = get16(h + 22), .name = get16(h + 24), .text = get16(h + 26), .body = get32(h + 28) };
	if (ret->body > CUSTODY_BODY_BYTES)
		return err_set(reterr, -EBADMSG, "custody record: body of %zu bytes, at most %d", ret->body, CUSTODY_BODY_BYTES);
	ret->by_record = h[15] & CUSTODY_FLAG_FD ? 0 : ret->body;
	sum = CUSTODY_HEADER_BYTES + ret->label + ret->spki + ret->name + ret->text + ret->by_record;
	return len == sum ? 0 : err_set(reterr, -EBADMSG, "custody record of %zu bytes, its header says %zu", len, sum);
}

int custody_msg_parse(const uint8_t *data, size_t len, struct custody_msg *ret, size_t *ret_fd_body, struct err *reterr)
{
	const uint8_t *p = data + CUSTODY_HEADER_BYTES;
	struct lengths n = { .label = 0 };
	int r;

	r = header_check(data, len, reterr);
	if (r == 0)
		r = lengths_take(data, len, &n, reterr);
	if (r < 0)
		return r;
	header_take(data, ret);
	r = text_take(&p, n.label, LIMIT_LABEL_BYTES, '!', ret->label, "label", reterr);
	if (r == 0)
		r = text_take(&p, n.spki, CUSTODY_SPKI_BYTES, '!', ret->spki, "spki", reterr);
	if (r == 0)
		r = text_take(&p, n.name, CUSTODY_NAME_BYTES, '!', ret->name, "name", reterr);
	if (r == 0)
		r = text_take(&p, n.text, CUSTODY_TEXT_BYTES, ' ', ret->text, "text", reterr);
	if (r == 0)
		r = spki_check(ret->spki, reterr);
	if (r == 0)
		r = buf_set(&ret->body, p, n.by_record);
	if (r == 0)
		*ret_fd_body = n.body - n.by_record;
	return r;
}

static int body_memfd(const struct buf *body, int *ret_fd, struct err *reterr)
{
	int fd = memfd_create("custody-body", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	size_t done = 0;

	while (fd >= 0 && done < body->len) {
		ssize_t n = pwrite(fd, body->data + done, body->len - done, (off_t) done);

		if (n <= 0)
			break;
		done += (size_t) n;
	}
	if (fd < 0 || done < body->len || fcntl(fd, F_ADD_SEALS, SEALS | F_SEAL_SEAL) < 0) {
		int r = errno > 0 ? -errno : -EIO;

		auto_fd(&fd);
		return err_set(reterr, r, "memfd for a body of %zu bytes: %s", body->len, strerror(-r));
	}
	*ret_fd = fd;
	return 0;
}

static void header_put(const struct custody_msg *m, bool by_fd, uint8_t h[CUSTODY_HEADER_BYTES])
{
	put16(h, MAGIC);
	h[2] = CUSTODY_VERSION;
	h[3] = (uint8_t) m->op;
	put32(h + 4, m->id);
	put32(h + 8, (uint32_t) m->status);
	h[12] = m->slot;
	h[13] = m->padding;
	h[14] = m->protection;
	h[15] = by_fd ? CUSTODY_FLAG_FD : 0;
	put32(h + 16, m->number);
	put16(h + 20, (uint16_t) strlen(m->label));
	put16(h + 22, (uint16_t) strlen(m->spki));
	put16(h + 24, (uint16_t) strlen(m->name));
	put16(h + 26, (uint16_t) strlen(m->text));
	put32(h + 28, (uint32_t) m->body.len);
}

int custody_msg_build(const struct custody_msg *m, struct buf *ret, int *ret_fd, struct err *reterr)
{
	const char *const fields[] = { m->label, m->spki, m->name, m->text };
	bool by_fd = m->body.len > CUSTODY_BODY_INLINE;
	uint8_t h[CUSTODY_HEADER_BYTES] = { 0 };
	int r;

	if (m->body.len > CUSTODY_BODY_BYTES)
		return err_set(reterr, -EMSGSIZE, "body of %zu bytes, custody takes at most %d", m->body.len, CUSTODY_BODY_BYTES);
	header_put(m, by_fd, h);
	*ret_fd = -1;
	r = buf_set(ret, h, sizeof(h));
	for (size_t i = 0; r == 0 && i < sizeof(fields) / sizeof(fields[0]); i++)
		r = buf_add(ret, fields[i], strlen(fields[i]));
	if (r == 0 && !by_fd)
		r = buf_add(ret, m->body.data, m->body.len);
	return r == 0 && by_fd ? body_memfd(&m->body, ret_fd, reterr) : r;
}

int custody_msg_body_fd(struct custody_msg *m, int fd, size_t len, struct err *reterr)
{
	int seals = fcntl(fd, F_GET_SEALS), r;
	struct stat st;
	void *p;

	/* without the seals the peer could change what was judged before it is signed, or cut it under our feet */
	if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || (uint64_t) st.st_size != len)
		return err_set(reterr, -EPROTO, "custody body: a sealed memfd of %zu bytes is wanted", len);
	p = mmap(NULL, len, PROT_READ, MAP_PRIVATE, fd, 0);
	if (p == MAP_FAILED)
		return err_set(reterr, -errno, "custody body: mmap: %s", strerror(errno));
	r = buf_set(&m->body, p, len);
	(void) munmap(p, len); /* our own mapping */
	return r;
}

union fd_room { /* control message with one descriptor, aligned as CMSG_* wants */
	struct cmsghdr align;
	char room[CMSG_SPACE(sizeof(int))];
};

int custody_msg_send(int fd, const struct custody_msg *m, struct err *reterr)
{
	AUTO(buf) struct buf record = { .secret = m->body.secret };
	AUTO(fd) int body_fd = -1;
	union fd_room control = { .room = { 0 } };
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	int r = custody_msg_build(m, &record, &body_fd, reterr);

	if (r < 0)
		return r;
	iov = (struct iovec){ .iov_base = record.data, .iov_len = record.len };
	if (body_fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.room;
		msg.msg_controllen = sizeof(control.room);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &body_fd, sizeof(int));
	}
	if (sendmsg(fd, &msg, MSG_NOSIGNAL) < 0) {
		r = errno == EPIPE ? -ECONNRESET : -errno;
		return err_set(reterr, r, "sending to the custodian's socket: %s", strerror(-r));
	}
	return 0;
}

static int fd_received(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	return fd;
}

int custody_msg_recv(int fd, struct custody_msg *ret, struct err *reterr)
{
	AUTO(mem) uint8_t *record = malloc(CUSTODY_RECORD_BYTES);
	AUTO(fd) int body_fd = -1;
	union fd_room control;
	struct iovec iov = { .iov_base = record, .iov_len = CUSTODY_RECORD_BYTES };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.room,
			      /* not CMSG_SPACE: its padding would let a second descriptor in */ .msg_controllen = CMSG_LEN(sizeof(int)) };
	size_t fd_body = 0;
	ssize_t n;
	int r;

	if (!record)
		return -ENOMEM;
	n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	if (n < 0)
		return err_set(reterr, -errno, "reading the custodian's socket: %s", strerror(errno));
	body_fd = fd_received(&msg);
	if (n == 0)
		return err_set(reterr, -ECONNRESET, "the other end of the custodian's socket has gone");
	if (msg.msg_flags & MSG_TRUNC)
		return err_set(reterr, -EBADMSG, "custody record longer than %d bytes", CUSTODY_RECORD_BYTES);
	r = custody_msg_parse(record, (size_t) n, ret, &fd_body, reterr);
	if (r == 0 && fd_body > 0)
		r = custody_msg_body_fd(ret, body_fd, fd_body, reterr);
	if (ret->body.secret)
		explicit_bzero(record, (size_t) n);
	return r;
}

int custody_names_parse(const struct buf *body, size_t *pos, struct buf *ret, struct err *reterr)
{
	for (int n = 0; *pos < body->len; n++) {
		const char *name = (const char *) body->data + *pos; /* a buf ends with a NUL of its own */
		size_t len = strlen(name);

		if (*pos + len >= body->len)
			break;
		*pos += len + 1;
		if (len == 0)
			return 0;
		if (n == CUSTODY_NAMES || len > LIMIT_LABEL_BYTES)
			return err_set(reterr, -EBADMSG, "users and groups of a key: at most %d names of %d bytes", CUSTODY_NAMES, LIMIT_LABEL_BYTES);
		for (size_t i = 0; i < len; i++)
			if (!isgraph((unsigned char) name[i]) || name[i] == ',')
				return err_set(reterr, -EBADMSG, "user or group name '%s' is not one word", name);
		if ((n > 0 && buf_add(ret, ",", 1) < 0) || buf_add(ret, name, len) < 0)
			return -ENOMEM;
	}
	return err_set(reterr, -EBADMSG, "the list of users or groups does not end");
}

int custody_names_build(const char *const *names, struct buf *append)
{
	for (; names && *names; names++)
		if (**names != '\0' && buf_add(append, *names, strlen(*names) + 1) < 0)
			return -ENOMEM;
	return buf_add(append, "", 1);
}
