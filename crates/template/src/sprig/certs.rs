//! Private keys and certificates: what sprig makes of Go's `crypto/x509`.

use std::net::IpAddr;
use std::sync::LazyLock;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyIdMethod, KeyUsagePurpose, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm, SigningKey,
};
use rsa::pkcs1::{DecodeRsaPrivateKey, EncodeRsaPrivateKey, EncodeRsaPublicKey};
use rsa::signature::{SignatureEncoding, Signer};
use rsa::{RsaPrivateKey, RsaPublicKey};

use super::crypto::not_compliant;
use super::{Answer, encode, number, strings_of, text};
use crate::call::{Context, Functions};
use crate::error::Fail;
use crate::printf;
use crate::time::Time;
use crate::types::{Field, Type};
use crate::value::Value;

/// The size sprig chooses for `genPrivateKey "rsa"`.
const KEY_BITS: usize = 4096;
/// The size sprig chooses for certificates.
const CERT_KEY_BITS: usize = 2048;
/// Making a key takes long, and twice the bits take much longer: its bits squared over this are its steps.
const BITS_SQUARED_PER_STEP: usize = 16;

const SECS_PER_DAY: i64 = 86_400;

fn certificate_type() -> Type {
    static SHARED: LazyLock<Type> = LazyLock::new(|| {
        let fields = vec![Field::new("Cert", Type::string()), Field::new("Key", Type::string())];
        Type::structure("sprig.certificate", fields)
    });
    SHARED.clone()
}

pub(super) fn install(f: &mut Functions) {
    f.fixed("genPrivateKey", strings_of(1), private_key);
    f.fixed("buildCustomCert", strings_of(2), custom);
    f.fixed("genCA", vec![Type::string(), Type::int()], |c, a| {
        let params = Params::new(c, text(&a[0]), &[], &[], number(&a[1]))?;
        params.self_signed(c, true)
    });
    let names = || vec![Type::string(), Type::any_list(), Type::any_list(), Type::int()];
    f.fixed("genSelfSignedCert", names(), |c, a| {
        let params = Params::new(c, text(&a[0]), &list(&a[1]), &list(&a[2]), number(&a[3]))?;
        params.self_signed(c, false)
    });
    let signed = [names(), vec![certificate_type()]].concat();
    f.fixed("genSignedCert", signed, |c, a| {
        let (issuer_cert, issuer_key) = signer(&a[4])?;
        let params = Params::new(c, text(&a[0]), &list(&a[1]), &list(&a[2]), number(&a[3]))?;
        params.signed_by(c, &issuer_cert, issuer_key)
    });
}

fn list(value: &Value) -> Vec<Value> {
    value.items().unwrap_or_default()
}

/// Randomness from the world for the crates that make keys.
struct Dice<'a>(&'a Context<'a>);

impl rsa::rand_core::RngCore for Dice<'_> {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        self.fill_bytes(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill_bytes(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, buf: &mut [u8]) {
        (self.0.world.dice)(buf);
    }

    fn try_fill_bytes(&mut self, buf: &mut [u8]) -> Result<(), rsa::rand_core::Error> {
        self.fill_bytes(buf);
        Ok(())
    }
}

impl rsa::rand_core::CryptoRng for Dice<'_> {}

fn rsa_key(c: &Context<'_>, bits: usize) -> Result<RsaPrivateKey, Fail> {
    c.budget.step(bits * bits / BITS_SQUARED_PER_STEP)?;
    RsaPrivateKey::new(&mut Dice(c), bits).map_err(|e| Fail::text(format!("error generating rsa key: {e}")))
}

fn rsa_pem(key: &RsaPrivateKey) -> Result<String, Fail> {
    key.to_pkcs1_pem(rsa::pkcs1::LineEnding::LF)
        .map(|pem| pem.to_string())
        .map_err(|e| Fail::text(format!("error pem-encoding key: {e}")))
}

/// sprig's `genPrivateKey`, with the algorithms that FIPS 140 knows.
fn private_key(c: &Context<'_>, a: &[Value]) -> Answer {
    match text(&a[0]) {
        b"rsa" => Ok(Value::str(rsa_pem(&rsa_key(c, KEY_BITS)?)?)),
        b"ecdsa" => {
            let key = p256::SecretKey::random(&mut Dice(c));
            let pem = key.to_sec1_pem(rsa::pkcs1::LineEnding::LF);
            let pem = pem.map_err(|e| Fail::text(format!("failed to generate private key: {e}")))?;
            Ok(Value::str(pem.as_bytes()))
        }
        // Allowed by name, but sprig 2 does not know it: its complaint is the result.
        b"ed25519" => Ok(Value::str("Unknown type ed25519")),
        other => Err(not_compliant(&format!("genPrivateKey for {}", String::from_utf8_lossy(other)))),
    }
}

fn certificate(cert: &[u8], key: &[u8]) -> Value {
    Value::structure(certificate_type(), vec![Value::str(cert), Value::str(key)])
}

/// The first PEM block.
fn pem_block(pem: &[u8], missing: &str) -> Result<Vec<u8>, Fail> {
    let (_, block) = x509_parser::pem::parse_x509_pem(pem).map_err(|_| Fail::text(missing))?;
    Ok(block.contents)
}

fn check_certificate(der: &[u8], what: &str) -> Result<(), Fail> {
    match x509_parser::parse_x509_certificate(der) {
        Ok(_) => Ok(()),
        Err(e) => Err(Fail::text(format!("error parsing certificate: {what}: {e}"))),
    }
}

fn parse_key(der: &[u8], what: &str) -> Result<RsaPrivateKey, Fail> {
    RsaPrivateKey::from_pkcs1_der(der)
        .map_err(|e| Fail::text(format!("error parsing prive key: {what}: {e}")))
}

fn custom(_: &Context<'_>, a: &[Value]) -> Answer {
    let decode = |i: usize, what: &str| {
        encode::base64_decode(text(&a[i])).map_err(|_| Fail::text(format!("unable to decode base64 {what}")))
    };
    let cert = decode(0, "certificate")?;
    let key = decode(1, "private key")?;
    check_certificate(&pem_block(&cert, "unable to decode certificate")?, "decodedCert.Bytes")?;
    parse_key(&pem_block(&key, "unable to decode key")?, "decodedKey.Bytes")?;
    Ok(certificate(&cert, &key))
}

/// The certificate and key of a signing `certificate` value.
fn signer(ca: &Value) -> Result<(Vec<u8>, RsaPrivateKey), Fail> {
    let part = |i: usize| ca.field_values().get(i).map_or(b"".as_slice(), text);
    let cert = pem_block(part(0), "unable to decode certificate")?;
    check_certificate(&cert, "decodedSignerCert.Bytes")?;
    let key = pem_block(part(1), "unable to decode key")?;
    Ok((cert, parse_key(&key, "decodedSignerKey.Bytes")?))
}

/// An RSA key that signs certificates.
struct CertKey {
    key: RsaPrivateKey,
    public_der: Vec<u8>,
}

impl CertKey {
    fn new(key: RsaPrivateKey) -> Result<CertKey, Fail> {
        let public_der = RsaPublicKey::from(&key)
            .to_pkcs1_der()
            .map_err(|e| Fail::text(format!("error creating certificate: {e}")))?
            .into_vec();
        Ok(CertKey { key, public_der })
    }
}

impl PublicKeyData for CertKey {
    fn der_bytes(&self) -> &[u8] {
        &self.public_der
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_RSA_SHA256
    }
}

impl SigningKey for CertKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signing = rsa::pkcs1v15::SigningKey::<rsa::sha2::Sha256>::new(self.key.clone());
        signing.try_sign(message).map(|s| s.to_vec()).map_err(|_| rcgen::Error::RemoteKeyError)
    }
}

/// What a certificate says, before it is signed.
struct Params(CertificateParams);

fn date(t: &Time) -> time::OffsetDateTime {
    let secs = t.unix_secs.clamp(0, 253_402_300_799);
    time::OffsetDateTime::from_unix_timestamp(secs).expect("years up to 9999 are in range")
}

fn created(e: &rcgen::Error) -> Fail {
    Fail::text(format!("error creating certificate: {e}"))
}

impl Params {
    fn new(c: &Context<'_>, name: &[u8], ips: &[Value], dns: &[Value], days: i64) -> Result<Params, Fail> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = alternatives(c, ips, dns)?;
        let mut subject = DistinguishedName::new();
        subject.push(DnType::CommonName, String::from_utf8_lossy(name).as_ref());
        params.distinguished_name = subject;
        let now = &c.world.now;
        params.not_before = date(now);
        params.not_after =
            date(&Time::unix(now.unix_secs.saturating_add(days.saturating_mul(SECS_PER_DAY)), 0));
        let mut serial = [0; 16];
        (c.world.dice)(&mut serial);
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.is_ca = IsCa::ExplicitNoCa;
        Ok(Params(params))
    }

    fn new_key(&mut self, c: &Context<'_>) -> Result<CertKey, Fail> {
        let key = CertKey::new(rsa_key(c, CERT_KEY_BITS)?)?;
        let digest = <sha1::Sha1 as sha1::Digest>::digest(&key.public_der);
        self.0.key_identifier_method = KeyIdMethod::PreSpecified(digest.to_vec());
        Ok(key)
    }

    fn self_signed(mut self, c: &Context<'_>, is_ca: bool) -> Answer {
        if is_ca {
            self.0.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            self.0.key_usages.push(KeyUsagePurpose::KeyCertSign);
        }
        let key = self.new_key(c)?;
        let cert = self.0.self_signed(&key).map_err(|e| created(&e))?;
        Ok(certificate(cert.pem().replace("\r\n", "\n").as_bytes(), rsa_pem(&key.key)?.as_bytes()))
    }

    fn signed_by(mut self, c: &Context<'_>, issuer_cert: &[u8], issuer_key: RsaPrivateKey) -> Answer {
        let key = self.new_key(c)?;
        let issuer = Issuer::from_ca_cert_der(&issuer_cert.into(), CertKey::new(issuer_key)?);
        let issuer = issuer.map_err(|e| created(&e))?;
        self.0.use_authority_key_identifier_extension = true;
        let cert = self.0.signed_by(&key, &issuer).map_err(|e| created(&e))?;
        Ok(certificate(cert.pem().replace("\r\n", "\n").as_bytes(), rsa_pem(&key.key)?.as_bytes()))
    }
}

/// Addresses and names besides the common name.
fn alternatives(c: &Context<'_>, ips: &[Value], dns: &[Value]) -> Result<Vec<SanType>, Fail> {
    let string = |value: &Value, what: &str| -> Result<String, Fail> {
        if *value.ty() == Type::string() {
            return Ok(String::from_utf8_lossy(text(value)).into_owned());
        }
        let shown = printf::with_verb(value, 'v', c.budget)?;
        Err(Fail::text(format!("{what}: {} is not a string", String::from_utf8_lossy(&shown))))
    };
    let mut all = Vec::new();
    for ip in ips {
        let ip = string(ip, "error parsing ip")?;
        let address: IpAddr = ip.parse().map_err(|_| Fail::text(format!("error parsing ip: {ip}")))?;
        all.push(SanType::IpAddress(address));
    }
    for name in dns {
        let name = string(name, "error processing alternate dns name")?;
        let ia5 = name.try_into().map_err(|e: rcgen::Error| created(&e))?;
        all.push(SanType::DnsName(ia5));
    }
    Ok(all)
}
