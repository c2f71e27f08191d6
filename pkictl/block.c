/* Facts one below the other: see block.h. */
#include "pkictl/block.h"

#include <inttypes.h>

#include "common/clk.h"
#include "pkictl/text.h"

#define LABEL_WIDTH 18

void block_text(const struct cli *c, const char *label, const char *text)
{
	if (!text || !text[0])
		return;
	(void) fprintf(c->io->out, "  %-*s ", LABEL_WIDTH, label); /* main checks out at the end */
	for (; *text; text++)
		(void) fputc(*text < 0x20 || *text > 0x7e ? '?' : *text, c->io->out); /* as above */
	(void) fputc('\n', c->io->out);						      /* as above */
}

void block_fact(const struct cli *c, const char *label, const json_t *object, const char *key)
{
	const json_t *value = json_object_get(object, key);
	char number[32];

	if (json_is_integer(value)) {
		(void) snprintf(number, sizeof(number), "%" JSON_INTEGER_FORMAT, json_integer_value(value)); /* fits */
		block_text(c, label, number);
	} else if (json_is_boolean(value)) {
		block_text(c, label, json_is_true(value) ? "yes" : "no");
	} else {
		block_text(c, label, json_string_value(value));
	}
}

void block_time(const struct cli *c, const char *label, const json_t *object, const char *key)
{
	char when[TEXT_AT_BYTES], left[TEXT_LEFT_BYTES], both[TEXT_AT_BYTES + TEXT_LEFT_BYTES + 16];
	const char *text = cli_text(object, key);
	int64_t sec, away_ms;

	if (clk_rfc3339_parse(text, &sec) < 0) {
		block_text(c, label, text);
		return;
	}
	away_ms = sec * 1000 - c->io->now_ms;
	(void) snprintf(both, sizeof(both), "%s (%s%s%s)", text_when(text, when), away_ms < 0 ? "" : "in ",
			text_left(away_ms < 0 ? -away_ms : away_ms, left), away_ms < 0 ? " ago" : ""); /* fits */
	block_text(c, label, both);
}

void block_cert(const struct cli *c, const char *title, const json_t *cert)
{
	char print[80];

	if (!json_is_object(cert))
		return;
	(void) fprintf(c->io->out, "%s\n", title); /* main checks out at the end */
	block_fact(c, "Subject:", cert, "subject");
	block_fact(c, "Issuer:", cert, "issuer");
	block_fact(c, "Serial:", cert, "serial");
	block_time(c, "Valid from:", cert, "not_before");
	block_time(c, "Valid until:", cert, "not_after");
	block_time(c, "Revoked:", cert, "revoked");
	if (cli_text(cert, "sha256")[0]) {
		(void) snprintf(print, sizeof(print), "sha256:%s", cli_text(cert, "sha256")); /* 64 digits fit */
		block_text(c, "Fingerprint:", print);
	}
}
