//! Certificates for the tests of TLS and authentication, created for each run.

use std::{fs, path::Path};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

/// The password of the user `prometheus` in `deploy/prometheus`.
pub const DEPLOYED_PASSWORD: &str = "change-me";

/// In PEM.
pub struct Pair {
    pub certificate: String,
    pub key: String,
}

impl Pair {
    /// Concatenated, as reqwest requires.
    pub fn both(&self) -> String {
        format!("{}{}", self.certificate, self.key)
    }
}

/// A trusted and an untrusted authority.
pub struct Keys {
    authority: CertifiedIssuer<'static, KeyPair>,
    untrusted: CertifiedIssuer<'static, KeyPair>,
}

impl Keys {
    pub fn generate() -> Keys {
        Keys {
            authority: authority("trusted authority"),
            untrusted: authority("untrusted authority"),
        }
    }

    pub fn authority(&self) -> String {
        self.authority.pem()
    }

    /// A server certificate for localhost.
    pub fn server(&self) -> Pair {
        self.server_for(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])
    }

    /// A server certificate for these names.
    pub fn server_for(&self, names: Vec<String>) -> Pair {
        let mut params = CertificateParams::new(names).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        signed(params, &self.authority)
    }

    /// A client certificate.
    pub fn client(&self, name: &str) -> Pair {
        signed(client(name), &self.authority)
    }

    /// A client certificate of the untrusted authority.
    pub fn untrusted(&self, name: &str) -> Pair {
        signed(client(name), &self.untrusted)
    }

    pub fn expired(&self, name: &str) -> Pair {
        let mut params = client(name);
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        signed(params, &self.authority)
    }

    /// Writes the files that the configurations in `deploy/prometheus` name.
    pub fn write_as_deployed(&self, directory: &Path) {
        let write = |name: &str, text: &str| fs::write(directory.join(name), text).unwrap();
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
