/* systemd's dialect of INI: lines, sections, drop-ins. See conf.h; values are parsed in conf_value.c. */
#include "common/conf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/buf.h"
#include "common/fs.h"
#include "common/limits.h"

#define SECTION_BYTES 64
#define NAME_BYTES 64

struct conf_file {
	const char *name;
	const struct conf_key *keys;
	void *target;
	struct err *reterr;
	char section[SECTION_BYTES];
	int line;  /* of the logical line's beginning */
	int next;  /* number of the next physical line */
};

#define CONF_ERROR(f, fmt, ...) err_set((f)->reterr, -EINVAL, "%s:%d: " fmt, (f)->name, (f)->line, ##__VA_ARGS__)

static int min_of_3(int a, int b, int c)
{
	int m = a < b ? a : b;

	return m < c ? m : c;
}

/* Edit distance without regard to case; words longer than NAME_BYTES are as far as can be. */
static int word_distance(const char *a, const char *b)
{
	int row[NAME_BYTES + 1], la = (int) strlen(a), lb = (int) strlen(b), i, j;

	if (la > NAME_BYTES || lb > NAME_BYTES)
		return NAME_BYTES;
	for (j = 0; j <= lb; j++)
		row[j] = j;
	for (i = 1; i <= la; i++) {
		int diagonal = row[0];

		row[0] = i;
		for (j = 1; j <= lb; j++) {
			int above = row[j];
			int same = tolower((unsigned char) a[i - 1]) == tolower((unsigned char) b[j - 1]);

			row[j] = min_of_3(above + 1, row[j - 1] + 1, diagonal + !same);
			diagonal = above;
		}
	}
	return row[lb];
}

struct words {
	char text[ERR_TEXT_BYTES];
	const char *nearest;
	int distance;
};

static void words_add(struct words *w, const char *typed, const char *known)
{
	size_t used = strlen(w->text);
	int d = word_distance(typed, known);

	(void) snprintf(w->text + used, sizeof(w->text) - used, " %s", known); /* a long list is cut, as the error's text is */
	if (!w->nearest || d < w->distance) {
		w->nearest = known;
		w->distance = d;
	}
}

/* " did you mean X?", if anything is near. out holds NAME_BYTES + 24. */
static const char *words_suggest(const struct words *w, const char *typed, char *out, size_t size)
{
	out[0] = '\0';
	if (w->nearest && w->distance <= (int) strlen(typed) / 3 + 1)
		(void) snprintf(out, size, " did you mean %s?", w->nearest); /* cut is fine */
	return out;
}

static bool section_known(const struct conf_key *keys, const char *section)
{
	for (; keys->section; keys++)
		if (strcmp(keys->section, section) == 0)
			return true;
	return false;
}

static int section_unknown(const struct conf_file *f, const char *section)
{
	struct words w = { .nearest = NULL };
	const struct conf_key *k;
	char hint[NAME_BYTES + 24];

	for (k = f->keys; k->section; k++)
		if (k == f->keys || strcmp(k->section, k[-1].section) != 0)
			words_add(&w, section, k->section);
	return CONF_ERROR(f, "unknown section [%s],%s expected one of:%s", section, words_suggest(&w, section, hint, sizeof(hint)), w.text);
}

static int key_unknown(const struct conf_file *f, const char *key)
{
	struct words w = { .nearest = NULL };
	const struct conf_key *k;
	char hint[NAME_BYTES + 24];

	for (k = f->keys; k->section; k++)
		if (k->parse && strcmp(k->section, f->section) == 0)
			words_add(&w, key, k->key);
	return CONF_ERROR(f, "unknown key %s in [%s],%s expected one of:%s", key, f->section, words_suggest(&w, key, hint, sizeof(hint)),
			  w.text);
}

static int section_enter(struct conf_file *f, char *line)
{
	size_t len = strlen(line);

	if (line[len - 1] != ']')
		return CONF_ERROR(f, "the section's ']' is missing");
	line[len - 1] = '\0';
	line++;
	if (!section_known(f->keys, line))
		return section_unknown(f, line);
	(void) snprintf(f->section, sizeof(f->section), "%s", line); /* known names are short */
	return 0;
}

static const struct conf_key *key_find(const struct conf_file *f, const char *key)
{
	const struct conf_key *k;

	for (k = f->keys; k->section; k++)
		if (strcmp(k->section, f->section) == 0 && strcmp(k->key, key) == 0)
			return k;
	return NULL;
}

static int key_assign(struct conf_file *f, const char *key, const char *value)
{
	const struct conf_key *k;
	int r;

	if (!f->section[0])
		return CONF_ERROR(f, "%s= stands before the first [Section]", key);
	k = key_find(f, key);
	if (!k)
		return key_unknown(f, key);
	if (!k->parse)
		return CONF_ERROR(f, "%s= in [%s] is known but not built yet: remove the line", key, f->section);
	r = k->parse(value, k->arg, (char *) f->target + k->offset, f->reterr);
	if (r < 0)
		return err_prefix(f->reterr, r, "%s:%d: %s=%.80s", f->name, f->line, key, value);
	return 0;
}

static void space_trim(char *text)
{
	size_t len = strlen(text);

	while (len > 0 && isspace((unsigned char) text[len - 1]))
		text[--len] = '\0';
}

static char *space_skip(char *text)
{
	while (isspace((unsigned char) *text))
		text++;
	return text;
}

/* One logical line, without the white space around it. */
static int line_take(struct conf_file *f, char *line)
{
	char *equals;

	line = space_skip(line);
	space_trim(line);
	if (!line[0])
		return 0;
	if (line[0] == '[')
		return section_enter(f, line);
	equals = strchr(line, '=');
	if (!equals || equals == line)
		return CONF_ERROR(f, "neither [Section] nor Key=Value");
	*equals = '\0';
	space_trim(line);
	return key_assign(f, line, space_skip(equals + 1));
}

static bool is_comment(const char *p, const char *end)
{
	while (p < end && isspace((unsigned char) *p))
		p++;
	return p < end && (*p == '#' || *p == ';');
}

/* Joins continued lines: a backslash at the end becomes a space; comment lines between are skipped, as systemd does. */
static int line_gather(struct conf_file *f, const char **at, const char *end, char out[LIMIT_CONF_LINE_BYTES + 1])
{
	size_t used = 0;
	bool more = true;

	f->line = f->next;
	while (more && *at < end) {
		const char *stop = memchr(*at, '\n', (size_t) (end - *at));
		size_t len = (size_t) ((stop ? stop : end) - *at);
		const char *text = *at;

		*at += len + (stop ? 1 : 0);
		f->next++;
		if (is_comment(text, text + len)) {
			if (used == 0)
				break;
			continue;
		}
		if (len > 0 && text[len - 1] == '\r')
			len--;
		if (len > LIMIT_CONF_LINE_BYTES - used)
			return CONF_ERROR(f, "line longer than %d bytes", LIMIT_CONF_LINE_BYTES);
		memcpy(out + used, text, len);
		used += len;
		more = used > 0 && out[used - 1] == '\\';
		if (more)
			out[used - 1] = ' ';
	}
	out[used] = '\0';
	return 0;
}

int conf_parse(const char *name, const char *text, size_t len, const struct conf_key *keys, void *target, struct err *reterr)
{
	struct conf_file f = { .name = name, .keys = keys, .target = target, .reterr = reterr, .line = 1, .next = 1 };
	char line[LIMIT_CONF_LINE_BYTES + 1];
	const char *at = text, *end = text + len;
	int r;

	if (len > LIMIT_CONF_BYTES)
		return err_set(reterr, -EFBIG, "%s: more than %d bytes", name, LIMIT_CONF_BYTES);
	if (len > 0 && memchr(text, '\0', len))
		return err_set(reterr, -EINVAL, "%s: holds a NUL byte", name);
	while (at < end) {
		r = line_gather(&f, &at, end, line);
		if (r == 0)
			r = line_take(&f, line);
		if (r < 0)
			return r;
	}
	return 0;
}

static int file_load(const char *path, const struct conf_key *keys, void *target, struct err *reterr)
{
	AUTO(buf) struct buf text = BUF_EMPTY;
	int r;

	r = fs_read(path, LIMIT_CONF_BYTES, &text, reterr);
	if (r < 0)
		return r;
	return conf_parse(path, text.data ? (const char *) text.data : "", text.len, keys, target, reterr);
}

static int is_drop_in(const struct dirent *e)
{
	size_t len = strlen(e->d_name);

	return e->d_name[0] != '.' && len > strlen(".conf") && strcmp(e->d_name + len - strlen(".conf"), ".conf") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name); /* bytes, whatever the locale */
}

static int drop_in_load(const char *folder, const char *name, const struct conf_key *keys, void *target, struct err *reterr)
{
	AUTO(mem) char *path = malloc(strlen(folder) + strlen(name) + 2);

	if (!path)
		return -ENOMEM;
	(void) sprintf(path, "%s/%s", folder, name); /* sized for it */
	return file_load(path, keys, target, reterr);
}

static int drop_ins_load(const char *path, const struct conf_key *keys, void *target, struct err *reterr)
{
	AUTO(mem) char *folder = malloc(strlen(path) + sizeof(".d"));
	AUTO(mem) struct dirent **names = NULL;
	int n, i, r = 0;

	if (!folder)
		return -ENOMEM;
	(void) sprintf(folder, "%s.d", path); /* sized for it */
	n = scandir(folder, &names, is_drop_in, by_name);
	if (n < 0)
		return errno == ENOENT ? 0 : err_set(reterr, -errno, "read folder %s: %s", folder, strerror(errno));
	for (i = 0; i < n; i++) {
		if (r == 0)
			r = drop_in_load(folder, names[i]->d_name, keys, target, reterr);
		free(names[i]);
	}
	return r;
}

int conf_load(const char *path, const struct conf_key *keys, void *target, struct err *reterr)
{
	int r;

	r = file_load(path, keys, target, reterr);
	if (r < 0)
		return r;
	return drop_ins_load(path, keys, target, reterr);
}

bool conf_name_ok(const char *name)
{
	static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
	size_t len = strspn(name, allowed);

	return len > 0 && len <= LIMIT_LABEL_BYTES && !name[len] && name[0] != '.' && name[0] != '-';
}
