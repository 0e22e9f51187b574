//! Certificates for the tests of TLS and authentication, created for each run.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// The password of `prometheus` in the files of `deploy`.
pub const DEPLOYED_PASSWORD: &str = "change-me";

/// A certificate and its key, in PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    /// Both in one, as reqwest wants it.
    pub fn both(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }
}

/// An authority, and what it signed; and another that is nobody's.
pub struct Keys {
    authority: CertifiedIssuer<'static, KeyPair>,
    stranger: CertifiedIssuer<'static, KeyPair>,
}

impl Keys {
    pub fn generate() -> Keys {
        Keys { authority: authority("an authority"), stranger: authority("another authority") }
    }

    pub fn authority(&self) -> String {
        self.authority.pem()
    }

    /// For the exporter, on this machine.
    pub fn server(&self) -> Pair {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        signed(params, &self.authority)
    }

    /// For a client of that name.
    pub fn client(&self, name: &str) -> Pair {
        signed(client(name), &self.authority)
    }

    /// The same that nobody trusts.
    pub fn stranger(&self, name: &str) -> Pair {
        signed(client(name), &self.stranger)
    }

    /// The same of long ago.
    pub fn expired(&self, name: &str) -> Pair {
        let mut params = client(name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        signed(params, &self.authority)
    }

    /// The exporter's own, which is not for clients.
    pub fn not_for_clients(&self) -> Pair {
        self.server()
    }

    /// The files that those of `deploy/prometheus` name.
    pub fn write_as_deployed(&self, folder: &Path) {
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
        let pair = self.server();
        write("exporter.crt", &pair.certificate);
        write("exporter.key", &pair.key);
        write("exporter-ca.crt", &self.authority());
        write("wickr-exporter.password", DEPLOYED_PASSWORD);
    }
}

fn authority(name: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

fn client(name: &str) -> CertificateParams {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    let mail = format!("{name}@example.com").try_into().unwrap();
    params.subject_alt_names.push(SanType::Rfc822Name(mail));
    params.distinguished_name.push(DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params
}

fn signed(params: CertificateParams, by: &CertifiedIssuer<'static, KeyPair>) -> Pair {
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, by).unwrap();
    Pair { certificate: certificate.pem(), key: key.serialize_pem() }
}
