#include "tests/test_main.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/auto.h"
#include "common/buf.h"
#include "common/ctl.h"
#include "common/fs.h"
#include "pkictl/cli.h"
#include "pkictl/table.h"
#include "pkictl/text.h"
#include "pkictl/trustpoint.h"
#include "tests/test_pkictl_golden.h"

#define NOW_SEC 1795442551LL /* Mon 2026-11-23T14:02:31Z */

/* The daemon that the program talks to: answers from a script, and writes down what it was asked. It runs in a thread while one command does. */

static struct {
	char top[40];
	const struct script *script;
	char *asked; /* "METHOD {params}\n" for each call */
	size_t asked_len;
	FILE *notes;
	sd_event *event;
	struct ctl_server *agent, *ca;
	pthread_t thread;
	int stop_fd;
} t;

static void answer(const char *method, struct ctl_call *call, json_t *params)
{
	AUTO(mem) char *text = json_dumps(params, JSON_COMPACT | JSON_SORT_KEYS);
	const struct script *s;

	(void) fprintf(t.notes, "%s %s\n", method, text); /* read back and compared */
	for (s = t.script; s && s->method; s++) {
		if (strcmp(s->method, method) != 0)
			continue;
		if (s->reply)
			ctl_reply(call, json_loads(s->reply, 0, NULL));
		else
			ctl_error(call, s->error, "do that", "it is %s", s->error);
		return;
	}
	ctl_error(call, "Failed", "mend the test", "no script for %s", method);
}

#define METHOD(name)                                                                                                                          \
	static void on_##name(void *userdata, struct ctl_call *call, json_t *params)                                                          \
	{                                                                                                                                     \
		(void) userdata; /* one daemon */                                                                                             \
		answer(#name, call, params);                                                                                                  \
	}
METHOD(Status)
METHOD(Timers)
METHOD(FetchCA)
METHOD(Authenticate)
METHOD(Enroll)
METHOD(Renew)
METHOD(Reload)
METHOD(Requests)
METHOD(Grant)
METHOD(Reject)
METHOD(List)
METHOD(Rollover)
#define AGENT(name, changes) { "org.keyroll.agent." #name, changes, on_##name }
#define CA(name, changes) { "org.keyroll.ca." #name, changes, on_##name }
static const struct ctl_method agent_methods[] = { AGENT(Status, false), AGENT(Timers, false), AGENT(FetchCA, true), AGENT(Authenticate, true),
						   AGENT(Enroll, true),	 AGENT(Renew, true),   AGENT(Reload, true), { NULL, false, NULL } };
static const struct ctl_method ca_methods[] = { CA(Status, false), CA(Requests, false), CA(Grant, true),	 CA(Reject, true),
						CA(List, false),   CA(Rollover, true),	{ NULL, false, NULL } };

static int on_stop(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	(void) fd, (void) revents, (void) userdata; /* the command has ended */
	return sd_event_exit(sd_event_source_get_event(source), 0);
}

static void *daemon_thread(void *arg)
{
	(void) arg; /* one daemon */
	(void) sd_event_loop(t.event); /* until on_stop */
	return NULL;
}

static int serve(const char *at, const char *interface, const struct ctl_method *methods, struct ctl_server **ret)
{
	AUTO(mem) char *path = NULL;
	int fd;

	if (asprintf(&path, "%s/run/keyroll/%s", t.top, at) < 0)
		return -1;
	fd = ctl_listen(path, 0600, NULL);
	return fd < 0 ? -1 : ctl_server_new(t.event, fd, interface, methods, NULL, ret, NULL);
}

static int daemon_start(const struct script *script)
{
	t.script = script;
	t.notes = open_memstream(&t.asked, &t.asked_len);
	t.stop_fd = eventfd(0, EFD_CLOEXEC);
	if (!t.notes || t.stop_fd < 0 || sd_event_new(&t.event) < 0 ||
	    sd_event_add_io(t.event, NULL, t.stop_fd, EPOLLIN, on_stop, NULL) < 0 ||
	    serve("agent.sock", "interface org.keyroll.agent", agent_methods, &t.agent) < 0 ||
	    serve("ca/ROOTCA.sock", "interface org.keyroll.ca", ca_methods, &t.ca) < 0)
		return -1;
	return pthread_create(&t.thread, NULL, daemon_thread, NULL) == 0 ? 0 : -1;
}

static void daemon_stop(void)
{
	CU_ASSERT_EQUAL(eventfd_write(t.stop_fd, 1), 0);
	CU_ASSERT_EQUAL(pthread_join(t.thread, NULL), 0);
	ctl_server_free(t.agent);
	ctl_server_free(t.ca);
	t.event = sd_event_unref(t.event);
	(void) close(t.stop_fd);  /* nothing is lost */
	(void) fclose(t.notes);	  /* in memory */
}

/* What one command did. */
struct run {
	int code;
	char *out, *err;
};

static void run_clear(struct run *r)
{
	free(r->out);
	free(r->err);
	free(t.asked);
	t.asked = NULL;
	*r = (struct run){ .code = -1 };
}

struct terminal {
	bool is;
	const char *typed;
	bool colour;
};

/* Splits the line at spaces; --root is added. */
static struct run run_line(const char *line, const struct terminal *terminal)
{
	struct run r = { .code = -1 };
	AUTO(mem) char *copy = strdup(line);
	char root[64], *argv[24] = { (char *) "pkictl", root };
	const char *typed = terminal && terminal->typed ? terminal->typed : "\n";
	struct cli_io io = { .now_ms = NOW_SEC * 1000 };
	size_t out_len, err_len;
	char *word, *rest;
	int argc = 2;

	(void) snprintf(root, sizeof(root), "--root=%s", t.top); /* fits */
	for (word = strtok_r(copy, " ", &rest); word && argc < 23; word = strtok_r(NULL, " ", &rest))
		argv[argc++] = word;
	io.in = fmemopen((char *) typed, strlen(typed), "r");
	io.out = open_memstream(&r.out, &out_len);
	io.err = open_memstream(&r.err, &err_len);
	io.in_tty = io.out_tty = terminal && terminal->is;
	io.colour = terminal && terminal->colour;
	r.code = cli_run(&io, argc, argv);
	(void) fclose(io.in);  /* in memory, all three */
	(void) fclose(io.out);
	(void) fclose(io.err);
	return r;
}

static void same_text(const char *what, const char *got, const char *want)
{
	if (strcmp(got, want) == 0)
		return;
	CU_FAIL("other text");
	printf("   %s: got\n%s<<<\n   wanted\n%s<<<\n", what, got, want);
}

static void golden_check(const struct golden *g, const struct terminal *terminal)
{
	struct run r;

	if (daemon_start(g->script) < 0) {
		CU_FAIL("daemon");
		return;
	}
	r = run_line(g->line, terminal);
	daemon_stop();
	if (r.code != g->code) {
		CU_FAIL("other exit code");
		printf("   %s: exit %d, %d wanted; %s\n", g->line, r.code, g->code, r.err);
	}
	same_text(g->line, r.out, g->out);
	same_text(g->line, r.err, g->err);
	if (g->asked)
		same_text(g->line, t.asked, g->asked);
	run_clear(&r);
}

static int put(const char *at, const char *text, mode_t mode)
{
	AUTO(mem) char *path = fs_path("%s", at);

	return path ? fs_write(path, text, strlen(text), mode, NULL) : -ENOMEM;
}

static void touch(const char *at, const char *text, mode_t mode)
{
	CU_ASSERT_EQUAL(put(at, text, mode), 0);
}

static int top_make(void)
{
	static const char *const folders[] = { "/run/keyroll/ca", "/etc/keyroll/ca", "/bin" };
	size_t i;

	(void) strcpy(t.top, "/tmp/keyroll-pkictl-XXXXXX"); /* fits */
	if (!mkdtemp(t.top) || fs_set_root(t.top, NULL) < 0 || setenv("TZ", "UTC", 1) < 0)
		return -1;
	tzset();
	for (i = 0; i < sizeof(folders) / sizeof(folders[0]); i++) {
		AUTO(mem) char *path = fs_path("%s", folders[i]);

		if (!path || fs_mkdir(path, 0755, NULL) < 0)
			return -1;
	}
	return put("/etc/keyroll/ca/ROOTCA.conf", "[CA]\n", 0644);
}

static int top_drop(void)
{
	return fs_remove_tree(t.top, NULL) < 0;
}

/* ---- text and tables */

static void time_left_shows_its_two_largest_units(void)
{
	static const struct {
		int64_t ms;
		const char *want;
	} rows[] = {
		{ 0, "0 s" },		       { 999, "0 s" },		   { 41000, "41 s" },	     { 60000, "1 m" },
		{ 303000, "5 m 3 s" },	       { 18720000, "5 h 12 m" },   { 18000000, "5 h" },	     { 3605000, "1 h" },
		{ 1051200000, "12 d 4 h" },    { 3283200000, "38 d" },	   { -5000, "-5 s" },	     { -999, "0 s" },
		{ -90061000, "-1 d 1 h" },     { 86400000LL * 36525, "36525 d" }, { 3599999, "59 m 59 s" },
	};
	char out[TEXT_LEFT_BYTES];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		CU_ASSERT_STRING_EQUAL(text_left(rows[i].ms, out), rows[i].want);
}

static void moment_has_a_date_only_when_it_is_far(void)
{
	char out[TEXT_AT_BYTES];

	CU_ASSERT_STRING_EQUAL(text_at(NOW_SEC + 41, NOW_SEC, false, out), "Mon 14:03:12");
	CU_ASSERT_STRING_EQUAL(text_at(NOW_SEC + 86399, NOW_SEC, false, out), "Tue 14:02:30");
	CU_ASSERT_STRING_EQUAL(text_at(NOW_SEC + 86400, NOW_SEC, false, out), "Tue 2026-11-24 14:02");
	CU_ASSERT_STRING_EQUAL(text_at(NOW_SEC - 86400, NOW_SEC, false, out), "Sun 2026-11-22 14:02");
	CU_ASSERT_STRING_EQUAL(text_at(1803945600, NOW_SEC, true, out), "Tue 2027-03-02 00:00!"); /* to the second */
	CU_ASSERT_STRING_EQUAL(text_at(1803945601, NOW_SEC, true, out), "Tue 2027-03-02 00:00:01!");
	CU_ASSERT_STRING_EQUAL(text_when("2027-03-02T00:00:00Z", out), "2027-03-02 00:00:00");
	CU_ASSERT_STRING_EQUAL(text_when("soon", out), "soon");
}

static char *table_text(bool legend, bool colour)
{
	static const char *const headings[] = { "A", "LONG", "C", NULL };
	AUTO(table) struct table *table = table_new(headings);
	char *text = NULL;
	size_t len;
	FILE *out = open_memstream(&text, &len);

	CU_ASSERT_EQUAL(table_add(table, "wide cell"), 0);
	CU_ASSERT_EQUAL(table_add_coloured(table, "x", TABLE_BAD), 0);
	CU_ASSERT_EQUAL(table_add(table, "end"), 0);
	CU_ASSERT_EQUAL(table_add(table, ""), 0);
	CU_ASSERT_EQUAL(table_add_coloured(table, "a\033[1m\n\xc3\xa9", TABLE_GOOD), 0);
	CU_ASSERT_EQUAL(table_add(table, NULL), 0);
	table_print(table, out, legend, colour);
	(void) fclose(out); /* in memory */
	return text;
}

static void table_aligns_and_cleans_its_cells(void)
{
	AUTO(mem) char *plain = table_text(true, false);
	AUTO(mem) char *bare = table_text(false, false);
	AUTO(mem) char *painted = table_text(false, true);

	same_text("plain", plain, "A          LONG      C\nwide cell  x         end\n-          a?[1m???  -\n");
	same_text("bare", bare, "wide cell  x         end\n-          a?[1m???  -\n");
	same_text("painted", painted, "wide cell  \033[31mx\033[0m         end\n-          \033[32ma?[1m???\033[0m  -\n");
}

/* ---- command lines */

static void wrong_lines_are_usage_errors_with_a_next_step(void)
{
	static const struct {
		const char *line, *want;
	} rows[] = {
		{ "frob", "frob is no verb" },
		{ "ca frob", "ca frob is no verb" },
		{ "show", "usage: pkictl show NAME..." },
		{ "enroll a b", "usage: pkictl enroll NAME" },
		{ "authenticate", "usage: pkictl authenticate NAME" },
		{ "--frob", "option --frob is not known" },
		{ "-x", "is not known" },
		{ "--json=long", "--json=long is not known" },
		{ "--json=", "--json= is not known" },
		{ "status --all", "usage: pkictl status" },
		{ "status --ca=ROOTCA", "usage: pkictl status" },
		{ "enroll a --fingerprint=x", "usage: pkictl enroll" },
		{ "ca status extra", "usage: pkictl ca status" },
		{ "ca grant", "either IDs or --all" },
		{ "ca grant 1 --all", "either IDs or --all" },
		{ "ca grant one", "one is not the ID" },
		{ "ca grant 0", "0 is not the ID" },
		{ "ca reject -- -1", "-1 is not the ID" },
		{ "ca list --max=0", "--max=0: a number from 1" },
		{ "ca list --max=x", "a whole number is wanted" },
		{ "ca rollover --yes=ROOTCA", "--yes goes with --cancel" },
		{ "ca status --ca=../x", "--ca=../x is no name of a CA" },
		{ "ca init ../x", "../x is no name for a CA" },
		{ "--root=/nonexistent/place", "/nonexistent/place" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct run r = run_line(rows[i].line, NULL);

		if (r.code != CLI_USAGE || !strstr(r.err, rows[i].want) || !strstr(r.err, "\nDo: ") || r.out[0]) {
			CU_FAIL("other refusal");
			printf("   %s: exit %d\n%s%s", rows[i].line, r.code, r.out, r.err);
		}
		run_clear(&r);
	}
	CU_ASSERT_EQUAL(fs_set_root(t.top, NULL), 0);
}

static void help_and_version_are_answered_everywhere(void)
{
	static const char *const lines[] = { "--help", "-h", "status --help", "ca grant --help" };
	struct run r;
	size_t i;

	for (i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		r = run_line(lines[i], NULL);
		CU_ASSERT_EQUAL(r.code, CLI_OK);
		CU_ASSERT_PTR_NOT_NULL(strstr(r.out, "  authenticate NAME [--fingerprint=sha256:HEX]\n"));
		run_clear(&r);
	}
	r = run_line("ca list --version", NULL);
	CU_ASSERT_EQUAL(r.code, CLI_OK);
	CU_ASSERT_EQUAL(strncmp(r.out, "keyroll ", 8), 0);
	run_clear(&r);
}

static void nobody_there_is_exit_8_and_says_what_to_start(void)
{
	struct run r = run_line("status", NULL);

	CU_ASSERT_EQUAL(r.code, CLI_UNREACHABLE);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.err, "Do: systemctl start keyrolld\n"));
	run_clear(&r);
	r = run_line("ca", NULL);
	CU_ASSERT_EQUAL(r.code, CLI_UNREACHABLE);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.err, "Do: systemctl start keyroll-ca@ROOTCA\n"));
	run_clear(&r);
}

static void second_ca_must_be_named(void)
{
	AUTO(mem) char *second = fs_path("/etc/keyroll/ca/SUBCA.conf");
	AUTO(mem) char *first = fs_path("/etc/keyroll/ca/ROOTCA.conf");
	struct run r;

	touch("/etc/keyroll/ca/SUBCA.conf", "[CA]\n", 0644);
	r = run_line("ca status", NULL);
	CU_ASSERT_EQUAL(r.code, CLI_USAGE);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.err, "there are 2 CAs"));
	run_clear(&r);
	r = run_line("ca status --ca=SUBCA", NULL);
	CU_ASSERT_EQUAL(r.code, CLI_UNREACHABLE);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.err, "ca/SUBCA.sock"));
	run_clear(&r);
	CU_ASSERT_EQUAL(fs_remove(second, NULL), 0);
	CU_ASSERT_EQUAL(fs_remove(first, NULL), 0);
	r = run_line("ca status", NULL);
	CU_ASSERT_EQUAL(r.code, CLI_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.err, "no CA is configured"));
	run_clear(&r);
	touch("/etc/keyroll/ca/ROOTCA.conf", "[CA]\n", 0644);
}

/* ---- verbs against the scripted daemon */

static void verbs_print_what_the_daemon_says(void)
{
	size_t i;

	for (i = 0; i < sizeof(goldens) / sizeof(goldens[0]); i++)
		golden_check(&goldens[i], NULL);
}

static void colours_are_for_terminals_only(void)
{
	static const struct terminal colour = { .is = true, .colour = true };
	struct run r;

	if (daemon_start(fleet) < 0) {
		CU_FAIL("daemon");
		return;
	}
	r = run_line("status eap", &colour);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.out, "\033[32menrolled\033[0m"));
	run_clear(&r);
	r = run_line("status ipsec", &colour);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.out, "\033[33mpending\033[0m"));
	run_clear(&r);
	r = run_line("status --json eap", &colour);
	CU_ASSERT_PTR_NULL(strstr(r.out, "\033"));
	daemon_stop();
	run_clear(&r);
}

static void ca_is_trusted_only_by_pin_or_by_a_typed_yes(void)
{
	static const struct {
		const char *line;
		struct terminal terminal;
		int code;
		bool trusted;
		const char *err;
	} rows[] = {
		{ "authenticate a --fingerprint=sha256:" FP, { .is = false }, CLI_OK, true, "" },
		{ "authenticate a --fingerprint=SHA256:" FP_COLONS, { .is = false }, CLI_OK, true, "" },
		{ "authenticate a --json=short --fingerprint=sha256:" FP, { .is = false }, CLI_OK, true, "" },
		{ "authenticate a --fingerprint=sha256:" FP_OTHER, { .is = false }, CLI_REFUSED, false, "not the given one" },
		{ "authenticate a --fingerprint=sha256:" FP_OTHER, { .is = true, .typed = "yes\n" }, CLI_REFUSED, false, "not the given one" },
		{ "authenticate a --fingerprint=md5:900150983cd24fb0d6963f7d28e17f72", { .is = false }, CLI_USAGE, false, "MD5" },
		{ "authenticate a", { .is = false, .typed = "yes\n" }, CLI_REFUSED, false, "nobody is here" },
		{ "authenticate a", { .is = true, .typed = "yes\n" }, CLI_OK, true, "" },
		{ "authenticate a", { .is = true, .typed = "y\n" }, CLI_REFUSED, false, "the answer was not yes" },
		{ "authenticate a", { .is = true, .typed = "yes" }, CLI_REFUSED, false, "the answer was not yes" },
		{ "authenticate a", { .is = true, .typed = "yes please\n" }, CLI_REFUSED, false, "the answer was not yes" },
		{ "authenticate a --json=short", { .is = true, .typed = "yes\n" }, CLI_REFUSED, false, "nobody is here" },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct run r;

		if (daemon_start(authentication) < 0) {
			CU_FAIL("daemon");
			return;
		}
		r = run_line(rows[i].line, &rows[i].terminal);
		daemon_stop();
		if (r.code == CLI_OK && strstr(rows[i].line, "--json") && (r.out[0] != '{' || !strstr(r.out, "\"sha256\":\"" FP "\"")))
			CU_FAIL("what was trusted is not told in JSON");
		if (r.code != rows[i].code || !strstr(r.err, rows[i].err) ||
		    (strstr(t.asked, "Authenticate {\"fingerprint\":\"" FP "\",\"name\":\"a\"}") != NULL) != rows[i].trusted) {
			CU_FAIL("other trust");
			printf("   row %zu: exit %d\n%s%s%s", i, r.code, r.out, r.err, t.asked);
		}
		run_clear(&r);
	}
}

static void half_terminal_is_no_terminal(void)
{
	struct cli_io io = { .now_ms = NOW_SEC * 1000, .in_tty = true };
	char root[64], *argv[] = { (char *) "pkictl", root, (char *) "authenticate", (char *) "a", NULL };
	AUTO(mem) char *out = NULL;
	size_t len;

	(void) snprintf(root, sizeof(root), "--root=%s", t.top); /* fits */
	if (daemon_start(authentication) < 0) {
		CU_FAIL("daemon");
		return;
	}
	io.in = fmemopen((char *) "yes\n", 4, "r");
	io.out = io.err = open_memstream(&out, &len);
	CU_ASSERT_EQUAL(cli_run(&io, 4, argv), CLI_REFUSED);
	(void) fclose(io.in);  /* in memory, both */
	(void) fclose(io.out);
	daemon_stop();
	CU_ASSERT_PTR_NULL(strstr(t.asked, "Authenticate"));
	free(t.asked);
	t.asked = NULL;
}

static void challenge_comes_from_a_file_of_one_line(void)
{
	static const struct {
		const char *text;
		int code;
		const char *want; /* of the question, or of the refusal */
	} rows[] = {
		{ "s3cret\n", CLI_PENDING, "Enroll {\"challenge\":\"s3cret\",\"name\":\"ipsec\"}\n" },
		{ "two words", CLI_PENDING, "Enroll {\"challenge\":\"two words\",\"name\":\"ipsec\"}\n" },
		{ "", CLI_FAILED, "does not hold one line" },
		{ "\n", CLI_FAILED, "does not hold one line" },
		{ "one\ntwo\n", CLI_FAILED, "does not hold one line" },
		{ "\xff\xfe\n", CLI_FAILED, "is not UTF-8" },
	};
	char line[128];
	size_t i;

	(void) snprintf(line, sizeof(line), "enroll ipsec --challenge-file=%s/challenge", t.top); /* fits */
	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct run r;

		touch("/challenge", rows[i].text, 0600);
		if (daemon_start(enrolment) < 0) {
			CU_FAIL("daemon");
			return;
		}
		r = run_line(line, NULL);
		daemon_stop();
		CU_ASSERT_EQUAL(r.code, rows[i].code);
		CU_ASSERT_PTR_NOT_NULL(strstr(rows[i].code == CLI_FAILED ? r.err : t.asked, rows[i].want));
		if (rows[i].code == CLI_FAILED)
			CU_ASSERT_STRING_EQUAL(t.asked, "");
		run_clear(&r);
	}
}

static void init_runs_the_ca_and_passes_its_words(void)
{
	struct run r;
	char where[64];

	touch("/bin/keyroll-cad", "#!/bin/sh\n[ \"$2 $3\" = '--init ROOTCA' ] || exit 9\n[ -e \"${1#--root=}/etc/keyroll/ca/ROOTCA.conf\" ] || exit 8\n"
				  "echo made it\necho CAFingerprint=sha256:" FP "\n",
	      0755);
	(void) snprintf(where, sizeof(where), "%s/bin", t.top); /* fits */
	CU_ASSERT_EQUAL(setenv("KEYROLL_LIBEXECDIR", where, 1), 0);
	r = run_line("ca init ROOTCA", NULL);
	CU_ASSERT_EQUAL(r.code, CLI_OK);
	same_text("init", r.out, "made it\nCAFingerprint=sha256:" FP "\n");
	run_clear(&r);
	r = run_line("ca init ROOTCA --json=short", NULL);
	CU_ASSERT_EQUAL(r.code, CLI_OK);
	same_text("init", r.out, "{\"name\":\"ROOTCA\",\"fingerprint\":\"sha256:" FP "\"}\n");
	run_clear(&r);
	r = run_line("ca init OTHER", NULL);
	CU_ASSERT_EQUAL(r.code, CLI_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.err, "OTHER.conf cannot be read"));
	run_clear(&r);
	touch("/bin/keyroll-cad", "#!/bin/sh\necho nearly\nexit 3\n", 0755);
	r = run_line("ca init ROOTCA", NULL);
	CU_ASSERT_EQUAL(r.code, CLI_FAILED);
	CU_ASSERT_STRING_EQUAL(r.out, "");
	CU_ASSERT_PTR_NOT_NULL(strstr(r.err, "nearly\npkictl: keyroll-cad --init ROOTCA failed (3)"));
	run_clear(&r);
	CU_ASSERT_EQUAL(setenv("KEYROLL_LIBEXECDIR", "/nonexistent", 1), 0);
	r = run_line("ca init ROOTCA", NULL);
	CU_ASSERT_EQUAL(r.code, CLI_FAILED);
	CU_ASSERT_PTR_NOT_NULL(strstr(r.err, "keyroll-cad is not installed"));
	run_clear(&r);
	CU_ASSERT_EQUAL(unsetenv("KEYROLL_LIBEXECDIR"), 0);
}

static void severity_follows_state_and_window(void)
{
	static const struct {
		const char *trustpoint;
		int code;
	} rows[] = {
		{ "{\"status\":\"enrolled\"}", CLI_OK },
		{ "{\"status\":\"unauthenticated\"}", CLI_WARNING },
		{ "{\"status\":\"pending\"}", CLI_PENDING },
		{ "{\"status\":\"held\"}", CLI_CRITICAL },
		{ "{\"status\":\"expired\"}", CLI_EXPIRED },
		{ "{\"status\":\"enrolled\",\"config_error\":\"x\"}", CLI_CRITICAL },
		{ "{\"status\":\"expired\",\"config_error\":\"x\"}", CLI_EXPIRED },
		{ "{\"status\":\"enrolled\",\"alarm\":\"x\"}", CLI_CRITICAL },
		/* a life of 365 days: the last 36.5 warn, the last 7 are critical */
		{ "{\"status\":\"enrolled\",\"id\":" LIFE("2025-12-30T14:02:31Z", "2026-12-30T14:02:31Z") "}", CLI_OK },
		{ "{\"status\":\"enrolled\",\"id\":" LIFE("2025-12-29T14:02:31Z", "2026-12-29T14:02:31Z") "}", CLI_WARNING },
		{ "{\"status\":\"enrolled\",\"id\":" LIFE("2025-11-30T14:02:30Z", "2026-11-30T14:02:30Z") "}", CLI_CRITICAL },
		{ "{\"status\":\"enrolled\",\"id\":" LIFE("2025-11-23T14:02:31Z", "2026-11-23T14:02:31Z") "}", CLI_EXPIRED },
		{ "{\"status\":\"shadowed\",\"shadow\":{},\"id\":" LIFE("2025-11-30T14:02:30Z", "2026-11-30T14:02:30Z") "}", CLI_OK },
	};
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		AUTO(json) json_t *one = json_loads(rows[i].trustpoint, 0, NULL);
		int code = trustpoint_severity(one, NOW_SEC);

		if (code != rows[i].code) {
			CU_FAIL("other severity");
			printf("   %s: %d, %d wanted\n", rows[i].trustpoint, code, rows[i].code);
		}
	}
	CU_ASSERT_EQUAL(severity_worse(CLI_PENDING, CLI_WARNING), CLI_PENDING);
	CU_ASSERT_EQUAL(severity_worse(CLI_PENDING, CLI_CRITICAL), CLI_CRITICAL);
	CU_ASSERT_EQUAL(severity_worse(CLI_EXPIRED, CLI_CLOCK), CLI_EXPIRED);
	CU_ASSERT_EQUAL(severity_worse(CLI_EXPIRED, CLI_FAILED), CLI_FAILED);
}

static CU_TestInfo text_tests[] = {
	{ "time left shows its two largest units", time_left_shows_its_two_largest_units },
	{ "a moment has a date only when it is far", moment_has_a_date_only_when_it_is_far },
	{ "a table aligns and cleans its cells", table_aligns_and_cleans_its_cells },
	{ "severity follows state and window", severity_follows_state_and_window },
	CU_TEST_INFO_NULL,
};
static CU_TestInfo line_tests[] = {
	{ "wrong lines are usage errors with a next step", wrong_lines_are_usage_errors_with_a_next_step },
	{ "help and version are answered everywhere", help_and_version_are_answered_everywhere },
	{ "nobody there is exit 8 and says what to start", nobody_there_is_exit_8_and_says_what_to_start },
	{ "a second CA must be named", second_ca_must_be_named },
	CU_TEST_INFO_NULL,
};
static CU_TestInfo verb_tests[] = {
	{ "verbs print what the daemon says", verbs_print_what_the_daemon_says },
	{ "colours are for terminals only", colours_are_for_terminals_only },
	{ "a CA is trusted only by pin or by a typed yes", ca_is_trusted_only_by_pin_or_by_a_typed_yes },
	{ "half a terminal is no terminal", half_terminal_is_no_terminal },
	{ "a challenge comes from a file of one line", challenge_comes_from_a_file_of_one_line },
	{ "init runs the CA and passes its words", init_runs_the_ca_and_passes_its_words },
	CU_TEST_INFO_NULL,
};

CU_SuiteInfo test_suites[] = {
	{ "pkictl's text", top_make, top_drop, NULL, NULL, text_tests },
	{ "pkictl's command lines", top_make, top_drop, NULL, NULL, line_tests },
	{ "pkictl's verbs", top_make, top_drop, NULL, NULL, verb_tests },
	CU_SUITE_INFO_NULL,
};
