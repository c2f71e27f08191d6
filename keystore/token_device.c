/* Opening and closing a device: see token_device.h. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/fs.h"
#include "keystore/custody_jobs.h"
#include "keystore/token.h"
#include "keystore/token_device.h"

struct token_device token;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *pin_file;	/* NULL: its keys have no PIN */
static struct stat pin_refused; /* the PIN file that the device did not take; st_ino 0: none */

/* What is known of the device, for those who must not wait for it. */
static struct {
	pthread_mutex_t lock;
	struct err why_not;	/* of the last attempt to open it */
	struct timespec due;	/* by when what it is at will have ended; 0: nothing */
	unsigned allowed;	/* seconds */
} state = { .lock = PTHREAD_MUTEX_INITIALIZER };

void token_configure(const char *provider, const char *pin_path)
{
	token.provider = provider;
	pin_file = pin_path;
	if (provider) /* both return their codes */
		(void) err_set(&state.why_not, -ENODEV, "the token of provider %s has not answered yet", provider);
	else
		(void) err_set(&state.why_not, -ENOTSUP, "[Token] Provider= is not set");
}

/* ---- who is at it */

void token_device_enter(unsigned sec)
{
	(void) pthread_mutex_lock(&lock); /* cannot fail, as below: initialised, not recursive */
	(void) pthread_mutex_lock(&state.lock);
	(void) clock_gettime(CLOCK_MONOTONIC, &state.due); /* that clock is always there */
	state.due.tv_sec += sec;
	state.allowed = sec;
	(void) pthread_mutex_unlock(&state.lock);
}

void token_device_leave(void)
{
	(void) pthread_mutex_lock(&state.lock);
	state.due.tv_sec = 0;
	(void) pthread_mutex_unlock(&state.lock);
	(void) pthread_mutex_unlock(&lock);
}

int token_hung(struct err *reterr)
{
	struct timespec now;
	int r = 0;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	(void) pthread_mutex_lock(&state.lock);
	if (state.due.tv_sec != 0 && now.tv_sec >= state.due.tv_sec)
		r = err_set(reterr, -ENODEV, "the token of provider %s has not answered for %ld s", token.provider,
			    (long) (now.tv_sec - state.due.tv_sec + state.allowed));
	(void) pthread_mutex_unlock(&state.lock);
	return r;
}

int token_state(struct err *reterr)
{
	int r = token_hung(reterr);

	(void) pthread_mutex_lock(&state.lock);
	if (r == 0 && state.why_not.code != 0)
		r = err_set(reterr, state.why_not.code, "%s", state.why_not.text);
	(void) pthread_mutex_unlock(&state.lock);
	return r;
}

static void state_set(const struct err *why_not)
{
	(void) pthread_mutex_lock(&state.lock);
	state.why_not = *why_not;
	(void) pthread_mutex_unlock(&state.lock);
}

/* ---- the PIN */

/* Its text, without line ends. -EPERM, with what is wrong with the file. */
static int pin_read(struct buf *ret, struct err *reterr)
{
	struct err why = { .code = 0 };
	struct stat st;

	if (stat(pin_file, &st) < 0)
		return err_set(reterr, -EPERM, "[Token] PINFile=%s: %s", pin_file, strerror(errno));
	if ((st.st_mode & 077) != 0)
		return err_set(reterr, -EPERM, "[Token] PINFile=%s may be read by others (mode %04o), 0600 is wanted", pin_file, st.st_mode & 07777);
	if (fs_read(pin_file, TOKEN_PIN_BYTES, ret, &why) < 0)
		return err_set(reterr, -EPERM, "[Token] PINFile=: %s", why.text);
	while (ret->len > 0 && (ret->data[ret->len - 1] == '\n' || ret->data[ret->len - 1] == '\r'))
		ret->len--;
	return ret->len > 0 ? 0 : err_set(reterr, -EPERM, "[Token] PINFile=%s holds no PIN", pin_file);
}

static int pin_check(struct err *reterr)
{
	AUTO(buf) struct buf pin = BUF_SECRET;

	return pin_file ? pin_read(&pin, reterr) : 0;
}

/* Devices count wrong PINs, and lock themselves after a few. */
static bool pin_is_refused(void)
{
	const struct stat *was = &pin_refused;
	struct stat now;

	return was->st_ino != 0 && stat(pin_file, &now) == 0 && now.st_ino == was->st_ino && now.st_size == was->st_size &&
	       now.st_mtim.tv_sec == was->st_mtim.tv_sec && now.st_mtim.tv_nsec == was->st_mtim.tv_nsec;
}

/* Asked by the provider when it loads a key. */
static int pin_give(char *out, int room, int verify, void *userdata)
{
	AUTO(buf) struct buf pin = BUF_SECRET;

	(void) verify;
	(void) userdata;
	if (!pin_file || pin_read(&pin, NULL) < 0 || pin.len > (size_t) room)
		return -1;
	token.pin_withheld = pin_is_refused();
	if (token.pin_withheld)
		return -1;
	token.pin_given = true;
	memcpy(out, pin.data, pin.len);
	return (int) pin.len;
}

int token_pin_refuse(struct err *reterr)
{
	if (stat(pin_file, &pin_refused) < 0)
		pin_refused.st_ino = 0;
	return token_pin_words(reterr);
}

int token_pin_words(struct err *reterr)
{
	return err_set(reterr, -EACCES, "the token refuses the key with the PIN of %s, which is not tried again until that file changes", pin_file);
}

/* ---- opening and closing */

void token_key_drop(void)
{
	jobs_block();
	EVP_PKEY_free(TAKE(token.key));
	jobs_unblock();
	buf_clear(&token.key_reference);
	token.pin_given = false;
}

void token_device_close(void)
{
	token_key_drop();
	jobs_block();
	if (token.device)
		(void) OSSL_PROVIDER_unload(TAKE(token.device)); /* nothing to be done about a failure, as below */
	if (token.base)
		(void) OSSL_PROVIDER_unload(TAKE(token.base));
	OSSL_LIB_CTX_free(TAKE(token.lib)); /* here it lets go of the device */
	jobs_unblock();
	UI_destroy_method(TAKE(token.pin));
}

static int provider_check(struct err *reterr)
{
	if (!token.provider)
		return err_set(reterr, -ENOTSUP, "[Token] Provider= is not set");
	if (snprintf(token.properties, sizeof(token.properties), "provider=%s", token.provider) >= (int) sizeof(token.properties))
		return err_set(reterr, -EINVAL, "[Token] Provider=%s: too long", token.provider);
	return 0;
}

static OSSL_PROVIDER *device_load(void)
{
	OSSL_PROVIDER *device;

	jobs_block();
	device = OSSL_PROVIDER_load(token.lib, token.provider);
	jobs_unblock();
	return device;
}

static int device_open(struct err *reterr)
{
	int r = provider_check(reterr);

	if (r == 0)
		r = pin_check(reterr);
	if (r < 0)
		return r;
	token.lib = OSSL_LIB_CTX_new();
	token.base = token.lib ? OSSL_PROVIDER_load(token.lib, "default") : NULL;
	token.device = token.base ? device_load() : NULL;
	token.pin = token.device ? UI_UTIL_wrap_read_pem_callback(pin_give, 0) : NULL;
	if (token.pin)
		return 0;
	r = err_from_openssl(reterr, -ENODEV, "the token of provider %s does not open", token.provider); /* in its words, which go with it */
	token_device_close();
	return r;
}

int token_device_open(struct err *reterr)
{
	struct err why = { .code = 0 };
	int r = token.device ? 0 : device_open(&why);

	state_set(&why);
	return r < 0 ? err_set(reterr, r, "%s", why.text) : 0;
}

/* Not opened anew to find out: in a TPM without a resource manager each opening leaves something behind. */
bool token_device_answers(void)
{
	bool ok;

	jobs_block();
	ok = OSSL_PROVIDER_self_test(token.device) == 1;
	jobs_unblock();
	if (!ok)
		(void) err_from_openssl(NULL, -ENODEV, "the token"); /* the queue is emptied */
	return ok;
}

int token_ready(struct err *reterr)
{
	int r;

	token_device_enter(TOKEN_OPERATION_SEC);
	if (token.device && !token_device_answers())
		token_device_close();
	r = token_device_open(reterr);
	token_device_leave();
	return r;
}

void token_close(void)
{
	token_device_enter(TOKEN_OPERATION_SEC);
	token_device_close();
	token_device_leave();
}
