use std::sync::Arc;

use daee_types::{Coded, Fault};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};

/// Whom to trust.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    system: bool,
    extra_pem: Vec<Vec<u8>>,
}

impl Roots {
    /// Nobody: for plain http only.
    pub fn none() -> Self {
        Self::default()
    }

    /// The authorities this machine trusts.
    pub fn system() -> Self {
        Self { system: true, extra_pem: Vec::new() }
    }

    /// And those in a PEM file, given as its bytes.
    pub fn and_pem(mut self, pem: &[u8]) -> Self {
        self.extra_pem.push(pem.to_vec());
        self
    }
}

/// Certificates or keys cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// No certificate in what should hold some.
    #[error("cannot read certificates: {0}; give a PEM file with CERTIFICATE blocks")]
    Certificates(String),
    /// No private key, or not the one of the certificate.
    #[error("cannot use the private key: {0}")]
    Key(String),
}

impl Coded for TlsError {
    fn code(&self) -> &'static str {
        match self {
            TlsError::Certificates(_) => "DAEE-H020",
            TlsError::Key(_) => "DAEE-H021",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}

/// How a client speaks TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ClientTls(pub(crate) Arc<ClientConfig>);

impl ClientTls {
    /// TLS 1.2 and 1.3 that trusts these roots.
    pub fn new(roots: &Roots) -> Result<Self, TlsError> {
        let mut store = RootCertStore::empty();
        if roots.system {
            let found = rustls_native_certs::load_native_certs();
            let (added, _) = store.add_parsable_certificates(found.certs);
            if added == 0 {
                tracing::warn!(
                    "this machine trusts no certificate authority: install `ca-certificates`"
                );
            }
        }
        for pem in &roots.extra_pem {
            for certificate in certificates(pem)? {
                store
                    .add(certificate)
                    .map_err(|error| TlsError::Certificates(error.to_string()))?;
            }
        }
        let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks the default versions")
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

/// How a server speaks TLS. Cheap to clone.
#[derive(Clone, Debug)]
pub struct ServerTls(pub(crate) Arc<ServerConfig>);

impl ServerTls {
    /// From a chain of certificates and the key of the first, both PEM.
    pub fn new(chain_pem: &[u8], key_pem: &[u8]) -> Result<Self, TlsError> {
        let chain = certificates(chain_pem)?;
        let key = PrivateKeyDer::from_pem_slice(key_pem)
            .map_err(|error| TlsError::Key(error.to_string()))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring speaks the default versions")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(|error| TlsError::Key(error.to_string()))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let found = found.map_err(|error| TlsError::Certificates(error.to_string()))?;
    if found.is_empty() {
        return Err(TlsError::Certificates("there is none".to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_without_certificates_or_keys_are_refused() {
        let client = |pem: &[u8]| ClientTls::new(&Roots::none().and_pem(pem)).map(|_| ());
        assert_eq!(client(b"").unwrap_err().code(), "DAEE-H020");
        assert_eq!(client(b"hello").unwrap_err().code(), "DAEE-H020");
        let made = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let other = rcgen::generate_simple_self_signed(["a.example".to_owned()]).unwrap();
        let chain = made.cert.pem();
        assert!(client(chain.as_bytes()).is_ok());
        let server = |key: &str| ServerTls::new(chain.as_bytes(), key.as_bytes()).map(|_| ());
        assert!(server(&made.signing_key.serialize_pem()).is_ok());
        assert_eq!(server("").unwrap_err().code(), "DAEE-H021");
        assert_eq!(server(&other.signing_key.serialize_pem()).unwrap_err().code(), "DAEE-H021");
    }
}
