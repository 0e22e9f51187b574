<<<<<<< HEAD
//! Certificates for tests of TLS, generated in each test.
=======
//! Certificates for the tests of TLS and authentication, created for each run.
>>>>>>> h-web

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

<<<<<<< HEAD
/// The password of the user `prometheus` in the files of `deploy`.
=======
/// The password of the user `prometheus` in `deploy/prometheus`.
>>>>>>> h-web
pub const DEPLOYED_PASSWORD: &str = "change-me";

/// In PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
<<<<<<< HEAD
    /// Certificate and key in one PEM, for reqwest.
=======
    /// Concatenated, as reqwest requires.
>>>>>>> h-web
    pub fn both(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }
}

<<<<<<< HEAD
pub struct Keys {
    authority: CertifiedIssuer<'static, KeyPair>,
    /// Trusted by no configuration.
    other: CertifiedIssuer<'static, KeyPair>,
=======
/// A trusted and an untrusted authority.
pub struct Keys {
    authority: CertifiedIssuer<'static, KeyPair>,
    untrusted: CertifiedIssuer<'static, KeyPair>,
>>>>>>> h-web
}

impl Keys {
    pub fn generate() -> Keys {
<<<<<<< HEAD
        Keys { authority: authority("an authority"), other: authority("another authority") }
=======
        Keys {
            authority: authority("trusted authority"),
            untrusted: authority("untrusted authority"),
        }
>>>>>>> h-web
    }

    pub fn authority(&self) -> String {
        self.authority.pem()
    }

<<<<<<< HEAD
    /// The exporter's certificate, for loopback.
=======
    /// A server certificate for localhost.
>>>>>>> h-web
    pub fn server(&self) -> Pair {
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        signed(params, &self.authority)
    }

<<<<<<< HEAD
=======
    /// A client certificate.
>>>>>>> h-web
    pub fn client(&self, name: &str) -> Pair {
        signed(client(name), &self.authority)
    }

<<<<<<< HEAD
    /// A client certificate of another authority.
    pub fn stranger(&self, name: &str) -> Pair {
        signed(client(name), &self.other)
=======
    /// A client certificate of the untrusted authority.
    pub fn untrusted(&self, name: &str) -> Pair {
        signed(client(name), &self.untrusted)
>>>>>>> h-web
    }

    pub fn expired(&self, name: &str) -> Pair {
        let mut params = client(name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        signed(params, &self.authority)
    }

<<<<<<< HEAD
    /// A certificate without the extended key usage for clients.
    pub fn not_for_clients(&self) -> Pair {
        self.server()
    }

    /// Writes the files that the configurations in `deploy/prometheus` refer to.
    pub fn write_as_deployed(&self, folder: &Path) {
        let write = |name: &str, text: &str| fs::write(folder.join(name), text).unwrap();
=======
    /// Writes the files that the configurations in `deploy/prometheus` name.
    pub fn write_as_deployed(&self, directory: &Path) {
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
>>>>>>> h-web
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
