/* pkictl, the operator's command: the streams of the real world; all else is in cli.c. */
#include <stdlib.h>
#include <unistd.h>

#include "common/clk.h"
#include "pkictl/cli.h"

int main(int argc, char **argv)
{
	const char *no_colour = getenv("NO_COLOR"), *term = getenv("TERM");
	struct cli_io io = { .in = stdin, .out = stdout, .err = stderr };
	enum cli_exit r;

	io.in_tty = isatty(STDIN_FILENO);
	io.out_tty = isatty(STDOUT_FILENO);
	io.colour = io.out_tty && !(no_colour && no_colour[0]) && term && term[0] && term[0] != 'd'; /* dumb */
	io.now_ms = clk_wall_ms();
	r = cli_run(&io, argc, argv);
	if (ferror(stdout) || fflush(stdout) != 0)
		return CLI_FAILED; /* a full disk or a closed pipe: what was printed is not all */
	return r;
}
