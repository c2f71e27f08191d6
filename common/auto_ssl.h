/* Cleanup of the OpenSSL objects that we own; see auto.h. */
#ifndef KEYROLL_COMMON_AUTO_SSL_H
#define KEYROLL_COMMON_AUTO_SSL_H

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/cms.h>
#include <openssl/evp.h>
#include <openssl/pkcs12.h>
#include <openssl/store.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include "common/auto.h"

static inline void x509_sk_free_(STACK_OF(X509) *sk)
{
	sk_X509_pop_free(sk, X509_free);
}
static inline void ext_sk_free_(STACK_OF(X509_EXTENSION) *sk)
{
	sk_X509_EXTENSION_pop_free(sk, X509_EXTENSION_free);
}
static inline void der_free_(unsigned char *p)
{
	OPENSSL_free(p);
}
static inline void store_close_(OSSL_STORE_CTX *p)
{
	(void) OSSL_STORE_close(p); /* nothing was written */
}

AUTO_DEFINE(asn1_int, ASN1_INTEGER *, ASN1_INTEGER_free);
AUTO_DEFINE(asn1_obj, ASN1_OBJECT *, ASN1_OBJECT_free);
AUTO_DEFINE(asn1_octets, ASN1_OCTET_STRING *, ASN1_OCTET_STRING_free);
AUTO_DEFINE(asn1_time, ASN1_TIME *, ASN1_TIME_free);
AUTO_DEFINE(bio, BIO *, BIO_free_all);
AUTO_DEFINE(bn, BIGNUM *, BN_clear_free);
AUTO_DEFINE(bn_ctx, BN_CTX *, BN_CTX_free);
AUTO_DEFINE(cms, CMS_ContentInfo *, CMS_ContentInfo_free);
AUTO_DEFINE(crl, X509_CRL *, X509_CRL_free);
AUTO_DEFINE(der, unsigned char *, der_free_);
AUTO_DEFINE(ext, X509_EXTENSION *, X509_EXTENSION_free);
AUTO_DEFINE(ext_sk, STACK_OF(X509_EXTENSION) *, ext_sk_free_);
AUTO_DEFINE(md_ctx, EVP_MD_CTX *, EVP_MD_CTX_free);
AUTO_DEFINE(name, X509_NAME *, X509_NAME_free);
AUTO_DEFINE(p8, PKCS8_PRIV_KEY_INFO *, PKCS8_PRIV_KEY_INFO_free);
AUTO_DEFINE(pkcs7, PKCS7 *, PKCS7_free);
AUTO_DEFINE(pkey, EVP_PKEY *, EVP_PKEY_free);
AUTO_DEFINE(pkey_ctx, EVP_PKEY_CTX *, EVP_PKEY_CTX_free);
AUTO_DEFINE(pubkey, X509_PUBKEY *, X509_PUBKEY_free);
AUTO_DEFINE(req, X509_REQ *, X509_REQ_free);
AUTO_DEFINE(store, X509_STORE *, X509_STORE_free);
AUTO_DEFINE(store_ctx, X509_STORE_CTX *, X509_STORE_CTX_free);
AUTO_DEFINE(uri_store, OSSL_STORE_CTX *, store_close_);
AUTO_DEFINE(x509, X509 *, X509_free);
AUTO_DEFINE(x509_sk, STACK_OF(X509) *, x509_sk_free_);

#endif
