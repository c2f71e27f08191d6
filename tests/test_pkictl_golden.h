/* What the scripted daemon says to pkictl, and the text that must come of it. NOW is Mon 2026-11-23 14:02:31 UTC. */
#ifndef KEYROLL_TESTS_TEST_PKICTL_GOLDEN_H
#define KEYROLL_TESTS_TEST_PKICTL_GOLDEN_H

/* ended by method == NULL */
struct script {
	const char *method;
	const char *reply; /* JSON of the parameters; NULL: error */
	const char *error; /* its last part */
};

struct golden {
	const char *line;
	const struct script *script;
	int code;
	const char *out, *err, *asked;
};

#define FP "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define FP_COLONS "BA:78:16:BF:8F:01:CF:EA:41:41:40:DE:5D:AE:22:23:B0:03:61:A3:96:17:7A:9C:B4:10:FF:61:F2:00:15:AD"
#define FP_OTHER "ca7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
#define LIFE(from, to) "{\"not_before\":\"" from "\",\"not_after\":\"" to "\"}"

#define CERT(serial, subject, from, to)                                                                                                       \
	"{\"serial\":\"" serial "\",\"subject\":\"" subject "\",\"issuer\":\"CN=RootCA,O=Example\",\"not_before\":\"" from "\",\"not_after\":\"" \
	to "\",\"sha256\":\"" FP "\",\"spki\":\"" FP_OTHER "\"}"
#define ROOT CERT("1", "CN=RootCA,O=Example", "2026-01-01T00:00:00Z", "2028-01-01T00:00:00Z")
#define NEXT_ROOT CERT("2", "CN=RootCA,O=Example", "2028-01-01T00:00:00Z", "2030-01-01T00:00:00Z")
#define SPOKE(serial) CERT(serial, "CN=spoke-1,OU=CVO", "2026-07-01T00:00:00Z", "2027-07-01T00:00:00Z")

#define EAP                                                                                                                                    \
	"{\"name\":\"eap\",\"status\":\"enrolled\",\"operation\":\"none\",\"stage\":\"idle\",\"polls\":0,\"failures\":0,"                  \
	"\"enrollment_url\":\"http://172.16.1.1\",\"key_label\":\"eap-RSA\",\"protection\":\"keyring\",\"at_rest\":\"file\",\"bits\":3072,"  \
	"\"ca\":" ROOT ",\"id\":" SPOKE("A1") ",\"generation\":4,\"next_timer\":{\"timer\":\"RENEW\",\"trustpoint\":\"eap\","                \
	"\"at\":\"2026-12-05T18:40:00Z\",\"left_ms\":1053449000,\"exact\":false,\"why\":\"80 % of 365 d\",\"if_missed\":\"-\"}}"
#define IPSEC                                                                                                                                  \
	"{\"name\":\"ipsec\",\"status\":\"pending\",\"operation\":\"enroll\",\"stage\":\"pending\",\"polls\":3,\"failures\":0,"             \
	"\"transaction\":\"9f3c\",\"last_error\":\"read: timed out \\u001b[2J\",\"enrollment_url\":\"http://172.16.1.1\","                   \
	"\"key_label\":\"ipsec-RSA\",\"ca\":" ROOT ",\"next_ca\":" NEXT_ROOT "}"
#define STATUS(list, clock) "{\"trustpoints\":[" list "],\"clock\":\"" clock "\",\"version\":\"0.1.0\"}"

static const struct script fleet[] = { { "Status", STATUS(EAP "," IPSEC, "trusted"), NULL }, { NULL, NULL, NULL } };
static const struct script eap_only[] = { { "Status", STATUS(EAP, "trusted"), NULL }, { NULL, NULL, NULL } };
static const struct script dark[] = { { "Status", STATUS(EAP, "untrusted"), NULL }, { NULL, NULL, NULL } };
static const struct script waiting[] = {
	{ "Status",
	  STATUS("{\"name\":\"a\",\"status\":\"unauthenticated\",\"hold\":\"operator\"},{\"name\":\"b\",\"status\":\"authenticated\",\"hold\":\"operator\"},"
		 "{\"name\":\"c\",\"status\":\"held\",\"hold\":\"rejected\"},"
		 "{\"name\":\"d\",\"status\":\"disabled\",\"config_error\":\"d.conf:2: bad\"}",
		 "untrusted"),
	  NULL },
	{ NULL, NULL, NULL }
};
#define ALARM "Protection=kernel is not to be had here: the kernel has no PKCS#8 parser. Do: modprobe pkcs8_key_parser"
static const struct script alarmed[] = { { "Status",
					   STATUS("{\"name\":\"a\",\"status\":\"held\",\"hold\":\"protection\",\"operation\":\"enroll\",\"stage\":\"begin\",\"alarm\":\"" ALARM
						  "\"},{\"name\":\"b\",\"status\":\"enrolled\",\"operation\":\"none\",\"alarm\":\"" ALARM "\"}",
						  "trusted"),
					   NULL },
					 { "Reload", "{\"trustpoints\":2,\"errors\":[\"a: " ALARM "\\u001b\"]}", NULL },
					 { NULL, NULL, NULL } };
static const struct script reloading[] = { { "Reload", "{\"trustpoints\":2,\"errors\":[]}", NULL }, { NULL, NULL, NULL } };
static const struct script empty[] = { { "Status", STATUS("", "trusted"), NULL }, { "Timers", "{\"timers\":[]}", NULL }, { NULL, NULL, NULL } };
static const struct script old_daemon[] = { { "Status", "{}", NULL }, { NULL, NULL, NULL } };
static const struct script refusing[] = { { "Status", NULL, "NoSuchTrustpoint" },    { "Enroll", NULL, "ClockNotTrusted" },
					  { "Timers", NULL, "PermissionDenied" },    { "FetchCA", NULL, "FingerprintMismatch" },
					  { "Requests", NULL, "InvalidParameter" },  { "Grant", NULL, "NotPending" },
					  { NULL, NULL, NULL } };
static const struct script authentication[] = { { "FetchCA", "{\"ca\":" ROOT "}", NULL },
						 { "Authenticate", "{\"ca\":" ROOT "}", NULL },
						 { NULL, NULL, NULL } };
static const struct script enrolment[] = { { "Status", STATUS(EAP "," IPSEC, "trusted"), NULL },
					   { "Enroll", "{\"trustpoint\":" IPSEC "}", NULL },
					   { "Renew", "{\"trustpoint\":" EAP "}", NULL },
					   { NULL, NULL, NULL } };

/* left_ms deliberately not in order */
static const struct script calendar[] = {
	{ "Timers",
	  "{\"timers\":["
	  "{\"timer\":\"RENEW\",\"trustpoint\":\"ipsec\",\"at\":\"2026-12-05T18:40:00Z\",\"left_ms\":1053449000,\"exact\":false,"
	  "\"why\":\"80 % of 365 d, jitter -11 min\",\"if_missed\":\"retry 1 min, 2 min ... 1 h\"},"
	  "{\"timer\":\"ACTIVATE\",\"trustpoint\":\"branch\",\"at\":\"2027-03-02T00:00:00Z\",\"left_ms\":8503049000,\"exact\":true,"
	  "\"why\":\"CA certificate ends, exact\",\"if_missed\":\"-\"},"
	  "{\"timer\":\"POLL\",\"trustpoint\":\"mgmt\",\"at\":\"2026-11-23T14:03:12Z\",\"left_ms\":41000,\"exact\":false,"
	  "\"why\":\"request 9f3c pending, try 3 of 999\",\"if_missed\":\"next in 4 min\"}]}",
	  NULL },
	{ NULL, NULL, NULL }
};

#define REQUEST(id, status, more)                                                                                                              \
	"{\"id\":" id ",\"status\":\"" status "\",\"subject\":\"CN=spoke-1,OU=CVO\",\"fingerprint\":\"0A1B2C3D\",\"transaction\":\"9f3c\","  \
	"\"address\":\"192.0.2.7\",\"received\":\"2026-11-23T14:00:00Z\"," more "}"
static const struct script server[] = {
	{ "Status",
	  "{\"name\":\"ROOTCA\",\"status\":\"enabled\",\"issuer\":\"CN=RootCA,O=Example\",\"grant\":\"manual\",\"grant_renewals\":true,"
	  "\"ca\":" ROOT ",\"rollover\":" NEXT_ROOT ",\"rollover_status\":\"available\",\"overlap_ms\":7776000000,"
	  "\"crl_next_update\":\"2026-11-23T19:14:00Z\",\"pending\":2,\"issued\":41,\"protection\":\"kernel\",\"url\":\"http://[::]:80\","
	  "\"clock\":\"trusted\",\"timers\":[{\"timer\":\"CERT EXPIRE\",\"at\":\"2028-01-01T00:00:00Z\",\"left_ms\":1,\"exact\":true}],"
	  "\"version\":\"0.1.0\"}",
	  NULL },
	{ "Requests",
	  "{\"requests\":[" REQUEST("7", "pending", "\"renewal\":false,\"rollover\":false") ","
	  REQUEST("12", "rejected", "\"renewal\":true,\"rollover\":false,\"why\":\"by operator\"") "]}",
	  NULL },
	{ "Grant", "{\"requests\":[" REQUEST("7", "granted", "\"renewal\":true,\"rollover\":true,\"serial\":\"A1\"") "]}", NULL },
	{ "Reject", "{\"requests\":[]}", NULL },
	{ "List",
	  "{\"certificates\":[" SPOKE("A1") ",{\"serial\":\"B2\",\"subject\":\"CN=old\",\"not_before\":\"2026-01-01T00:00:00Z\","
	  "\"not_after\":\"2027-01-01T00:00:00Z\",\"revoked\":\"2026-05-05T05:05:05Z\"}]}",
	  NULL },
	{ "Rollover", "{\"rollover\":" NEXT_ROOT "}", NULL },
	{ NULL, NULL, NULL }
};
static const struct script crowded[] = {
	{ "Requests", "{\"more\":true,\"requests\":[" REQUEST("7", "pending", "\"why\":null") "]}", NULL },
	{ "List", "{\"more\":true,\"certificates\":[" SPOKE("A1") "]}", NULL },
	{ NULL, NULL, NULL }
};
static const struct script server_ended[] = { { "Status", "{\"name\":\"ROOTCA\",\"clock\":\"trusted\",\"ca\":" LIFE("2025-01-01T00:00:00Z", "2026-11-23T14:02:31Z") "}", NULL },
					      { NULL, NULL, NULL } };
static const struct script server_dark[] = { { "Status", "{\"name\":\"ROOTCA\",\"clock\":\"untrusted\"}", NULL }, { NULL, NULL, NULL } };

/* the command, who answers, exit code, stdout, stderr, what the daemon was asked */
static const struct golden goldens[] = {
	{ "", fleet, 5,
	  "TRUSTPOINT  STATUS    SUBJECT            EXPIRES              LEFT       NEXT               KEY\n"
	  "eap         enrolled  CN=spoke-1,OU=CVO  2027-07-01 00:00:00  219 d 9 h  RENEW in 12 d 4 h  keyring\n"
	  "ipsec       pending   -                  -                    -          -                  -\n"
	  "ipsec: last error: read: timed out ?[2J\n",
	  "", "Status {}\n" },
	{ "status eap", eap_only, 0,
	  "TRUSTPOINT  STATUS    SUBJECT            EXPIRES              LEFT       NEXT               KEY\n"
	  "eap         enrolled  CN=spoke-1,OU=CVO  2027-07-01 00:00:00  219 d 9 h  RENEW in 12 d 4 h  keyring\n",
	  "", "Status {\"name\":\"eap\"}\n" },
	{ "status e* ipsec --no-legend", fleet, 5,
	  "eap    enrolled  CN=spoke-1,OU=CVO  2027-07-01 00:00:00  219 d 9 h  RENEW in 12 d 4 h  keyring\n"
	  "ipsec  pending   -                  -                    -          -                  -\n"
	  "ipsec: last error: read: timed out ?[2J\n",
	  "", "Status {}\n" },
	{ "status none", eap_only, 1,
	  "",
	  "pkictl: no trustpoint none\n"
	  "Do: pkictl list\n", "Status {\"name\":\"none\"}\n" },
	{ "status nothing*", fleet, 1,
	  "",
	  "pkictl: no trustpoint nothing*\n"
	  "Do: pkictl list\n", "Status {}\n" },
	{ "status --json=short eap", eap_only, 0,
	  "{\"trustpoints\":[{\"name\":\"eap\",\"status\":\"enrolled\",\"operation\":\"none\",\"stage\":\"idle\",\"polls\":0,\"failures\":0,\"enrollment_url\":\"http://172.16.1.1\",\"key_label\":\"eap-RSA\",\"protection\":\"keyring\",\"at_rest\":\"file\",\"bits\":3072,\"ca\":" ROOT ",\"id\":" SPOKE("A1") ",\"generation\":4,\"next_timer\":{\"timer\":\"RENEW\",\"trustpoint\":\"eap\",\"at\":\"2026-12-05T18:40:00Z\",\"left_ms\":1053449000,\"exact\":false,\"why\":\"80 % of 365 d\",\"if_missed\":\"-\"}}],\"clock\":\"trusted\",\"version\":\"0.1.0\"}\n",
	  "", "Status {\"name\":\"eap\"}\n" },
	{ "status", dark, 7,
	  "TRUSTPOINT  STATUS    SUBJECT            EXPIRES              LEFT       NEXT               KEY\n"
	  "eap         enrolled  CN=spoke-1,OU=CVO  2027-07-01 00:00:00  219 d 9 h  RENEW in 12 d 4 h  keyring\n"
	  "The clock is not trusted: no certificate timer is armed.\n",
	  "", "Status {}\n" },
	{ "status", empty, 0,
	  "No trustpoints.\n",
	  "", "Status {}\n" },
	{ "status", old_daemon, 1,
	  "",
	  "pkictl: keyrolld's answer has no trustpoints\n"
	  "Do: pkictl --version, and keyrolld's: they should be the same\n", "Status {}\n" },
	{ "status gone", refusing, 1,
	  "",
	  "pkictl: it is NoSuchTrustpoint\n"
	  "Do: do that\n", "Status {\"name\":\"gone\"}\n" },
	{ "list", fleet, 0,
	  "TRUSTPOINT  CERTIFICATE  SERIAL  SUBJECT              FROM                 UNTIL                LEFT\n"
	  "eap         CA           1       CN=RootCA,O=Example  2026-01-01 00:00:00  2028-01-01 00:00:00  403 d 9 h\n"
	  "eap         own          A1      CN=spoke-1,OU=CVO    2026-07-01 00:00:00  2027-07-01 00:00:00  219 d 9 h\n"
	  "ipsec       next CA      2       CN=RootCA,O=Example  2028-01-01 00:00:00  2030-01-01 00:00:00  1134 d 9 h\n"
	  "ipsec       CA           1       CN=RootCA,O=Example  2026-01-01 00:00:00  2028-01-01 00:00:00  403 d 9 h\n",
	  "", "Status {}\n" },
	{ "list --json=short e*", fleet, 0,
	  "{\"certificates\":[{\"serial\":\"1\",\"subject\":\"CN=RootCA,O=Example\",\"issuer\":\"CN=RootCA,O=Example\",\"not_before\":\"2026-01-01T00:00:00Z\",\"not_after\":\"2028-01-01T00:00:00Z\",\"sha256\":\"" FP "\",\"spki\":\"" FP_OTHER "\",\"trustpoint\":\"eap\",\"slot\":\"ca\"},{\"serial\":\"A1\",\"subject\":\"CN=spoke-1,OU=CVO\",\"issuer\":\"CN=RootCA,O=Example\",\"not_before\":\"2026-07-01T00:00:00Z\",\"not_after\":\"2027-07-01T00:00:00Z\",\"sha256\":\"" FP "\",\"spki\":\"" FP_OTHER "\",\"trustpoint\":\"eap\",\"slot\":\"id\"}]}\n",
	  "", "Status {}\n" },
	{ "list", empty, 0,
	  "No certificates.\n",
	  "", "Status {}\n" },
	{ "status", waiting, 7,
	  "TRUSTPOINT  STATUS           SUBJECT  EXPIRES  LEFT  NEXT  KEY\n"
	  "a           unauthenticated  -        -        -     -     -\n"
	  "b           authenticated    -        -        -     -     -\n"
	  "c           held             -        -        -     -     -\n"
	  "d           disabled         -        -        -     -     -\n"
	  "The clock is not trusted: no certificate timer is armed.\n"
	  "a: waits for: pkictl authenticate a\n"
	  "b: waits for: pkictl enroll b\n"
	  "c: the CA rejected the request: ask its operator, then: pkictl enroll c\n"
	  "d: configuration: d.conf:2: bad\n",
	  "", "Status {}\n" },
	{ "status", alarmed, 4,
	  "TRUSTPOINT  STATUS    SUBJECT  EXPIRES  LEFT  NEXT  KEY\n"
	  "a           held      -        -        -     -     -\n"
	  "b           enrolled  -        -        -     -     -\n"
	  "a: alarm: " ALARM "\n"
	  "b: alarm: " ALARM "\n",
	  "", "Status {}\n" },
	{ "show a*", alarmed, 0,
	  "Trustpoint\n"
	  "  Name:              a\n"
	  "  Status:            held\n"
	  "  Alarm:             " ALARM "\n"
	  "  Operation:         enroll\n"
	  "  Stage:             begin\n"
	  "  Waits for:         protection\n",
	  "", "Status {}\n" },
	{ "reload", reloading, 0,
	  "  Trustpoints:       2\n",
	  "", "Reload {}\n" },
	{ "reload", alarmed, 4,
	  "  Trustpoints:       2\n"
	  "  Error:             a: " ALARM "?\n",
	  "", "Reload {}\n" },
	{ "reload --json=short", alarmed, 4,
	  "{\"trustpoints\":2,\"errors\":[\"a: " ALARM "\\u001B\"]}\n",
	  "", "Reload {}\n" },
	{ "reload a", reloading, 2,
	  "",
	  "pkictl: usage: pkictl reload\n"
	  "Do: pkictl --help\n", "" },
	{ "show eap", eap_only, 0,
	  "Trustpoint\n"
	  "  Name:              eap\n"
	  "  Status:            enrolled\n"
	  "  Enrolment URL:     http://172.16.1.1\n"
	  "  Key:               eap-RSA\n"
	  "  Key bits:          3072\n"
	  "  Protection:        keyring\n"
	  "  At rest:           file\n"
	  "  Generation:        4\n"
	  "  Next timer:        RENEW\n"
	  "  Next at:           2026-12-05 18:40:00 (in 12 d 4 h)\n"
	  "  Because:           80 % of 365 d\n"
	  "CA certificate\n"
	  "  Subject:           CN=RootCA,O=Example\n"
	  "  Issuer:            CN=RootCA,O=Example\n"
	  "  Serial:            1\n"
	  "  Valid from:        2026-01-01 00:00:00 (326 d 14 h ago)\n"
	  "  Valid until:       2028-01-01 00:00:00 (in 403 d 9 h)\n"
	  "  Fingerprint:       sha256:" FP "\n"
	  "Certificate\n"
	  "  Subject:           CN=spoke-1,OU=CVO\n"
	  "  Issuer:            CN=RootCA,O=Example\n"
	  "  Serial:            A1\n"
	  "  Valid from:        2026-07-01 00:00:00 (145 d 14 h ago)\n"
	  "  Valid until:       2027-07-01 00:00:00 (in 219 d 9 h)\n"
	  "  Fingerprint:       sha256:" FP "\n",
	  "", "Status {\"name\":\"eap\"}\n" },
	{ "show ipsec", fleet, 0,
	  "Trustpoint\n"
	  "  Name:              ipsec\n"
	  "  Status:            pending\n"
	  "  Operation:         enroll\n"
	  "  Stage:             pending\n"
	  "  Transaction:       9f3c\n"
	  "  Polls:             3\n"
	  "  Last error:        read: timed out ?[2J\n"
	  "  Enrolment URL:     http://172.16.1.1\n"
	  "  Key:               ipsec-RSA\n"
	  "CA certificate (next)\n"
	  "  Subject:           CN=RootCA,O=Example\n"
	  "  Issuer:            CN=RootCA,O=Example\n"
	  "  Serial:            2\n"
	  "  Valid from:        2028-01-01 00:00:00 (in 403 d 9 h)\n"
	  "  Valid until:       2030-01-01 00:00:00 (in 1134 d 9 h)\n"
	  "  Fingerprint:       sha256:" FP "\n"
	  "CA certificate\n"
	  "  Subject:           CN=RootCA,O=Example\n"
	  "  Issuer:            CN=RootCA,O=Example\n"
	  "  Serial:            1\n"
	  "  Valid from:        2026-01-01 00:00:00 (326 d 14 h ago)\n"
	  "  Valid until:       2028-01-01 00:00:00 (in 403 d 9 h)\n"
	  "  Fingerprint:       sha256:" FP "\n",
	  "", "Status {\"name\":\"ipsec\"}\n" },
	{ "timers", calendar, 0,
	  "LEFT      AT                     TIMER     FOR     WHY                                 IF MISSED\n"
	  "41 s      Mon 14:03:12           POLL      mgmt    request 9f3c pending, try 3 of 999  next in 4 min\n"
	  "12 d 4 h  Sat 2026-12-05 18:40   RENEW     ipsec   80 % of 365 d, jitter -11 min       retry 1 min, 2 min ... 1 h\n"
	  "98 d 9 h  Tue 2027-03-02 00:00!  ACTIVATE  branch  CA certificate ends, exact          -\n",
	  "", "Timers {}\n" },
	{ "timers --no-legend mgmt branch", calendar, 0,
	  "41 s      Mon 14:03:12           POLL      mgmt    request 9f3c pending, try 3 of 999  next in 4 min\n"
	  "98 d 9 h  Tue 2027-03-02 00:00!  ACTIVATE  branch  CA certificate ends, exact          -\n",
	  "", "Timers {}\n" },
	{ "timers --json=short b*", calendar, 0,
	  "{\"timers\":[{\"timer\":\"ACTIVATE\",\"trustpoint\":\"branch\",\"at\":\"2027-03-02T00:00:00Z\",\"left_ms\":8503049000,\"exact\":true,\"why\":\"CA certificate ends, exact\",\"if_missed\":\"-\"}]}\n",
	  "", "Timers {}\n" },
	{ "timers", empty, 0,
	  "No timers.\n",
	  "", "Timers {}\n" },
	{ "timers", refusing, 10,
	  "",
	  "pkictl: it is PermissionDenied\n"
	  "Do: do that\n", "Timers {}\n" },
	{ "authenticate a", refusing, 10,
	  "",
	  "pkictl: it is FingerprintMismatch\n"
	  "Do: do that\n", "FetchCA {\"name\":\"a\"}\n" },
	{ "enroll ipsec", enrolment, 5,
	  "ipsec: pending, enroll pending\n",
	  "", "Enroll {\"name\":\"ipsec\"}\n" },
	{ "enroll ipsec --json=short", enrolment, 5,
	  "{\"trustpoint\":{\"name\":\"ipsec\",\"status\":\"pending\",\"operation\":\"enroll\",\"stage\":\"pending\",\"polls\":3,\"failures\":0,\"transaction\":\"9f3c\",\"last_error\":\"read: timed out \\u001B[2J\",\"enrollment_url\":\"http://172.16.1.1\",\"key_label\":\"ipsec-RSA\",\"ca\":" ROOT ",\"next_ca\":" NEXT_ROOT "}}\n",
	  "", "Enroll {\"name\":\"ipsec\"}\n" },
	{ "enroll ipsec", refusing, 7,
	  "",
	  "pkictl: it is ClockNotTrusted\n"
	  "Do: do that\n", "Enroll {\"name\":\"ipsec\"}\n" },
	{ "renew e*", enrolment, 0,
	  "eap: enrolled\n",
	  "", "Status {}\n"
	  "Renew {\"name\":\"eap\"}\n" },
	{ "renew e* ipsec", enrolment, 0,
	  "eap: enrolled\n"
	  "eap: enrolled\n",
	  "", "Status {}\n"
	  "Renew {\"name\":\"eap\"}\n"
	  "Renew {\"name\":\"ipsec\"}\n" },
	{ "renew e* --json=short", enrolment, 0,
	  "{\"trustpoints\":[{\"name\":\"eap\",\"status\":\"enrolled\",\"operation\":\"none\",\"stage\":\"idle\",\"polls\":0,\"failures\":0,\"enrollment_url\":\"http://172.16.1.1\",\"key_label\":\"eap-RSA\",\"protection\":\"keyring\",\"at_rest\":\"file\",\"bits\":3072,\"ca\":{\"serial\":\"1\",\"subject\":\"CN=RootCA,O=Example\",\"issuer\":\"CN=RootCA,O=Example\",\"not_before\":\"2026-01-01T00:00:00Z\",\"not_after\":\"2028-01-01T00:00:00Z\",\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\"spki\":\"ca7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"},\"id\":{\"serial\":\"A1\",\"subject\":\"CN=spoke-1,OU=CVO\",\"issuer\":\"CN=RootCA,O=Example\",\"not_before\":\"2026-07-01T00:00:00Z\",\"not_after\":\"2027-07-01T00:00:00Z\",\"sha256\":\"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\",\"spki\":\"ca7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\"},\"generation\":4,\"next_timer\":{\"timer\":\"RENEW\",\"trustpoint\":\"eap\",\"at\":\"2026-12-05T18:40:00Z\",\"left_ms\":1053449000,\"exact\":false,\"why\":\"80 % of 365 d\",\"if_missed\":\"-\"}}]}\n",
	  "", "Status {}\n"
	  "Renew {\"name\":\"eap\"}\n" },
	{ "renew x", enrolment, 1,
	  "",
	  "pkictl: no trustpoint x\n"
	  "Do: pkictl list\n", "Status {\"name\":\"x\"}\n" },
	{ "ca", server, 0,
	  "Certificate Server ROOTCA\n"
	  "  Status:            enabled\n"
	  "  Issuer name:       CN=RootCA,O=Example\n"
	  "  URL:               http://[::]:80\n"
	  "  Granting:          manual\n"
	  "  Grants renewals:   yes\n"
	  "  Pending requests:  2\n"
	  "  Issued:            41\n"
	  "  Key protection:    kernel\n"
	  "  Clock:             trusted\n"
	  "  CRL next update:   2026-11-23 19:14:00 (in 5 h 11 m)\n"
	  "  Rollover:          available\n"
	  "  Rollover overlap:  90 d\n"
	  "CA certificate (rollover)\n"
	  "  Subject:           CN=RootCA,O=Example\n"
	  "  Issuer:            CN=RootCA,O=Example\n"
	  "  Serial:            2\n"
	  "  Valid from:        2028-01-01 00:00:00 (in 403 d 9 h)\n"
	  "  Valid until:       2030-01-01 00:00:00 (in 1134 d 9 h)\n"
	  "  Fingerprint:       sha256:" FP "\n"
	  "CA certificate\n"
	  "  Subject:           CN=RootCA,O=Example\n"
	  "  Issuer:            CN=RootCA,O=Example\n"
	  "  Serial:            1\n"
	  "  Valid from:        2026-01-01 00:00:00 (326 d 14 h ago)\n"
	  "  Valid until:       2028-01-01 00:00:00 (in 403 d 9 h)\n"
	  "  Fingerprint:       sha256:" FP "\n"
	  "Timers\n"
	  "  CERT EXPIRE:       2028-01-01 00:00:00 (in 403 d 9 h)\n",
	  "", "Status {}\n" },
	{ "ca status --json=pretty", server_dark, 7,
	  "{\n"
	  "  \"name\": \"ROOTCA\",\n"
	  "  \"clock\": \"untrusted\"\n"
	  "}\n",
	  "", "Status {}\n" },
	{ "ca status", server_ended, 6,
	  "Certificate Server ROOTCA\n"
	  "  Clock:             trusted\n"
	  "CA certificate\n"
	  "  Valid from:        2025-01-01 00:00:00 (691 d 14 h ago)\n"
	  "  Valid until:       2026-11-23 14:02:31 (in 0 s)\n",
	  "", "Status {}\n" },
	{ "ca status", server_dark, 7,
	  "Certificate Server ROOTCA\n"
	  "  Clock:             untrusted\n",
	  "", "Status {}\n" },
	{ "ca requests", server, 0,
	  "ID  STATUS    KIND     SUBJECT            FINGERPRINT  FROM       RECEIVED             SERIAL, WHY\n"
	  "7   pending   new      CN=spoke-1,OU=CVO  0A1B2C3D     192.0.2.7  2026-11-23 14:00:00  -\n"
	  "12  rejected  renewal  CN=spoke-1,OU=CVO  0A1B2C3D     192.0.2.7  2026-11-23 14:00:00  by operator\n",
	  "", "Requests {}\n" },
	{ "ca requests", crowded, 0,
	  "ID  STATUS   KIND  SUBJECT            FINGERPRINT  FROM       RECEIVED             SERIAL, WHY\n"
	  "7   pending  new   CN=spoke-1,OU=CVO  0A1B2C3D     192.0.2.7  2026-11-23 14:00:00  -\n"
	  "There are more: grant or reject these first.\n",
	  "", "Requests {}\n" },
	{ "ca list", crowded, 0,
	  "SERIAL  SUBJECT            FROM                 UNTIL                REVOKED\n"
	  "A1      CN=spoke-1,OU=CVO  2026-07-01 00:00:00  2027-07-01 00:00:00  -\n"
	  "There are more: these are the newest that fit into one answer.\n",
	  "", "List {}\n" },
	{ "ca requests --all --no-legend", server, 0,
	  "7   pending   new      CN=spoke-1,OU=CVO  0A1B2C3D  192.0.2.7  2026-11-23 14:00:00  -\n"
	  "12  rejected  renewal  CN=spoke-1,OU=CVO  0A1B2C3D  192.0.2.7  2026-11-23 14:00:00  by operator\n",
	  "", "Requests {\"all\":true}\n" },
	{ "ca requests --json=short", server, 0,
	  "{\"requests\":[{\"id\":7,\"status\":\"pending\",\"subject\":\"CN=spoke-1,OU=CVO\",\"fingerprint\":\"0A1B2C3D\",\"transaction\":\"9f3c\",\"address\":\"192.0.2.7\",\"received\":\"2026-11-23T14:00:00Z\",\"renewal\":false,\"rollover\":false},{\"id\":12,\"status\":\"rejected\",\"subject\":\"CN=spoke-1,OU=CVO\",\"fingerprint\":\"0A1B2C3D\",\"transaction\":\"9f3c\",\"address\":\"192.0.2.7\",\"received\":\"2026-11-23T14:00:00Z\",\"renewal\":true,\"rollover\":false,\"why\":\"by operator\"}]}\n",
	  "", "Requests {}\n" },
	{ "ca requests", refusing, 2,
	  "",
	  "pkictl: it is InvalidParameter\n"
	  "Do: do that\n", "Requests {}\n" },
	{ "ca grant 7 12", server, 0,
	  "ID  STATUS   KIND      SUBJECT            FINGERPRINT  FROM       RECEIVED             SERIAL, WHY\n"
	  "7   granted  rollover  CN=spoke-1,OU=CVO  0A1B2C3D     192.0.2.7  2026-11-23 14:00:00  A1\n",
	  "", "Grant {\"ids\":[7,12]}\n" },
	{ "ca grant 7 12 --json=short", server, 0,
	  "{\"requests\":[{\"id\":7,\"status\":\"granted\",\"subject\":\"CN=spoke-1,OU=CVO\",\"fingerprint\":\"0A1B2C3D\",\"transaction\":\"9f3c\",\"address\":\"192.0.2.7\",\"received\":\"2026-11-23T14:00:00Z\",\"renewal\":true,\"rollover\":true,\"serial\":\"A1\"}]}\n",
	  "", "Grant {\"ids\":[7,12]}\n" },
	{ "ca grant --all", server, 0,
	  "ID  STATUS   KIND      SUBJECT            FINGERPRINT  FROM       RECEIVED             SERIAL, WHY\n"
	  "7   granted  rollover  CN=spoke-1,OU=CVO  0A1B2C3D     192.0.2.7  2026-11-23 14:00:00  A1\n",
	  "", "Grant {\"all\":true}\n" },
	{ "ca grant 3", refusing, 1,
	  "",
	  "pkictl: it is NotPending\n"
	  "Do: do that\n", "Grant {\"ids\":[3]}\n" },
	{ "ca reject 7 --reason=unknown", server, 0,
	  "No requests.\n",
	  "", "Reject {\"ids\":[7],\"reason\":\"unknown\"}\n" },
	{ "ca reject 7 --json=short", server, 0,
	  "{\"requests\":[]}\n",
	  "", "Reject {\"ids\":[7]}\n" },
	{ "ca reject --all", server, 0,
	  "No requests.\n",
	  "", "Reject {\"all\":true}\n" },
	{ "ca list", server, 0,
	  "SERIAL  SUBJECT            FROM                 UNTIL                REVOKED\n"
	  "A1      CN=spoke-1,OU=CVO  2026-07-01 00:00:00  2027-07-01 00:00:00  -\n"
	  "B2      CN=old             2026-01-01 00:00:00  2027-01-01 00:00:00  2026-05-05 05:05:05\n",
	  "", "List {}\n" },
	{ "ca list --max=5 --json=short", server, 0,
	  "{\"certificates\":[" SPOKE("A1") ",{\"serial\":\"B2\",\"subject\":\"CN=old\",\"not_before\":\"2026-01-01T00:00:00Z\",\"not_after\":\"2027-01-01T00:00:00Z\",\"revoked\":\"2026-05-05T05:05:05Z\"}]}\n",
	  "", "List {\"max\":5}\n" },
	{ "ca rollover", server, 0,
	  "CA certificate (rollover)\n"
	  "  Subject:           CN=RootCA,O=Example\n"
	  "  Issuer:            CN=RootCA,O=Example\n"
	  "  Serial:            2\n"
	  "  Valid from:        2028-01-01 00:00:00 (in 403 d 9 h)\n"
	  "  Valid until:       2030-01-01 00:00:00 (in 1134 d 9 h)\n"
	  "  Fingerprint:       sha256:" FP "\n",
	  "", "Rollover {}\n" },
	{ "ca rollover --json=short", server, 0,
	  "{\"rollover\":" NEXT_ROOT "}\n",
	  "", "Rollover {}\n" },
	{ "ca rollover --cancel", server, 10,
	  "",
	  "pkictl: --cancel deletes the next CA certificate of ROOTCA; shadow certificates that it issued become worthless\n"
	  "Do: if that is meant, add --yes=NAME with the CA's name\n", "" },
	{ "ca rollover --cancel --yes=ROOT", server, 10,
	  "",
	  "pkictl: --cancel deletes the next CA certificate of ROOTCA; shadow certificates that it issued become worthless\n"
	  "Do: if that is meant, add --yes=NAME with the CA's name\n", "" },
	{ "ca rollover --cancel --yes=ROOTCA --ca=ROOTCA", server, 0,
	  "ROOTCA: the rollover is cancelled.\n",
	  "", "Rollover {\"cancel\":true}\n" },
};

#endif
