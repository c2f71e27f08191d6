/* pkictl authenticate: a CA is trusted only when somebody compared its fingerprint. */
#include "pkictl/cli.h"

#include <string.h>

#include "common/x509facts.h"
#include "pkictl/block.h"

static enum cli_exit pin_check(const struct cli *c, const char *fetched)
{
	char wanted[X509F_SHA256_HEX];
	struct err e = { 0 };

	if (fingerprint_parse(c->fingerprint, wanted, &e) < 0)
		return cli_fail(c, CLI_USAGE, "copy the line CAFingerprint= from the CA's operator", "%s", e.text);
	if (strcmp(wanted, fetched) != 0)
		return cli_fail(c, CLI_REFUSED, "do not trust it; compare again with the CA's operator: an attacker may be answering",
				"the CA has fingerprint sha256:%s, not the given one", fetched);
	return CLI_OK;
}

static enum cli_exit operator_asked(const struct cli *c)
{
	char answer[16] = "";

	if (c->json || !c->io->in_tty || !c->io->out_tty)
		return cli_fail(c, CLI_REFUSED, "compare the fingerprint with the CA's operator, then repeat with --fingerprint=sha256:...",
				"nobody is here to compare the fingerprint");
	(void) fprintf(c->io->out, "Compare the fingerprint with the CA's operator. Trust this CA? Type yes: "); /* main checks out */
	(void) fflush(c->io->out);									    /* as above */
	if (!fgets(answer, sizeof(answer), c->io->in) || strcmp(answer, "yes\n") != 0)
		return cli_fail(c, CLI_REFUSED, "compare the fingerprint with the CA's operator, then try again", "not trusted: the answer was not yes");
	return CLI_OK;
}

static enum cli_exit reply_show(const struct cli *c, json_t *reply)
{
	if (c->json)
		return cli_print_json(c, reply);
	(void) fprintf(c->io->out, "%s trusts this CA now.\n", c->args[0]); /* main checks out at the end */
	return CLI_OK;
}

enum cli_exit verb_authenticate(const struct cli *c)
{
	AUTO(json) json_t *fetched = NULL;
	AUTO(json) json_t *reply = NULL;
	const char *fingerprint;
	enum cli_exit r;

	r = cli_ask_agent(c, "FetchCA", json_pack("{s:s}", "name", c->args[0]), CLI_PEER_TIMEOUT_MS, &fetched);
	if (r != CLI_OK)
		return r;
	fingerprint = cli_text(json_object_get(fetched, "ca"), "sha256");
	if (strlen(fingerprint) != X509F_SHA256_HEX - 1)
		return cli_fail(c, CLI_FAILED, "pkictl --version, and keyrolld's: they should be the same", "keyrolld's answer has no fingerprint");
	if (!c->json)
		block_cert(c, "CA certificate", json_object_get(fetched, "ca"));
	r = c->fingerprint ? pin_check(c, fingerprint) : operator_asked(c);
	if (r != CLI_OK)
		return r;
	r = cli_ask_agent(c, "Authenticate", json_pack("{s:s, s:s}", "name", c->args[0], "fingerprint", fingerprint), CLI_PEER_TIMEOUT_MS, &reply);
	if (r != CLI_OK)
		return r;
	return reply_show(c, reply);
}
