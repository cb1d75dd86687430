//! TLS to the server, by rustls.

use super::encryption::{Mode, Roots, Trust, invalid};
use crate::error::StoreError;
use std::error::Error;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::Socket;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect, TlsStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{
    HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier,
};
use tokio_rustls::rustls::crypto::{
    WebPkiSupportedAlgorithms, ring, verify_tls12_signature, verify_tls13_signature,
};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use tokio_rustls::rustls::{
    self, CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

type Failure = Box<dyn Error + Send + Sync>;

/// Makes connections of one trust.
#[derive(Clone)]
pub(super) struct Connector(Arc<ClientConfig>);

/// The connector for `trust`. Reads its roots.
pub(super) fn connector(trust: &Trust) -> Result<Connector, StoreError> {
    let provider = Arc::new(ring::default_provider());
    let chain = match &trust.roots {
        None => None,
        Some(roots) => {
            let roots = Arc::new(read_roots(roots)?);
            let chain = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider));
            Some(chain.build().map_err(|error| invalid(format!("sslrootcert: {error}")))?)
        }
    };
    let verifier = Verifier {
        chain,
        by_name: trust.mode == Mode::VerifyFull,
        algorithms: provider.signature_verification_algorithms,
    };
    let config =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(|error| invalid(format!("TLS: {error}")))?;
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = vec![b"postgresql".to_vec()];
    Ok(Connector(Arc::new(config)))
}

fn read_roots(from: &Roots) -> Result<RootCertStore, StoreError> {
    let mut store = RootCertStore::empty();
    match from {
        Roots::File(file) => {
            let bad = |why: String| invalid(format!("sslrootcert {file}: {why}"));
            let each =
                CertificateDer::pem_file_iter(file).map_err(|error| bad(error.to_string()))?;
            for certificate in each {
                let certificate = certificate.map_err(|error| bad(error.to_string()))?;
                store.add(certificate).map_err(|error| bad(error.to_string()))?;
            }
            if store.is_empty() {
                return Err(bad("it holds no certificate".to_owned()));
            }
        }
        Roots::System => {
            // A machine's store may hold some that cannot be read; the others count.
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
            if store.is_empty() {
                return Err(invalid(format!("the machine trusts no root: {:?}", found.errors)));
            }
        }
    }
    Ok(store)
}

/// Lets a server in by its certificate, as far as the mode asks for it.
#[derive(Debug)]
struct Verifier {
    /// `None` when whoever answers is let in.
    chain: Option<Arc<WebPkiServerVerifier>>,
    by_name: bool,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let Some(chain) = &self.chain else {
            return Ok(ServerCertVerified::assertion());
        };
        let verified =
            chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last: the chain holds.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if !self.by_name => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        // Whatever the mode: channel binding counts on a server that holds the key of its certificate.
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl MakeTlsConnect<Socket> for Connector {
    type Stream = Stream;
    type TlsConnect = Handshake;
    type Error = Failure;

    fn make_tls_connect(&mut self, host: &str) -> Result<Handshake, Failure> {
        // Asked also for a socket file, which has no name and is never encrypted.
        Ok(Handshake { host: host.to_owned(), config: Arc::clone(&self.0) })
    }
}

/// One handshake to come, with the server named `host`.
pub(super) struct Handshake {
    host: String,
    config: Arc<ClientConfig>,
}

impl TlsConnect<Socket> for Handshake {
    type Stream = Stream;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, Failure>> + Send>>;

    fn connect(self, socket: Socket) -> Self::Future {
        Box::pin(async move {
            let name = ServerName::try_from(self.host)?;
            match TlsConnector::from(self.config).connect(name, socket).await {
                Ok(stream) => Ok(Stream(Box::new(stream))),
                // What the certificate lacks is no matter of the network: another try changes nothing.
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    Err(error.into_inner().unwrap_or_else(|| "TLS failed".into()))
                }
                Err(error) => Err(error.into()),
            }
        })
    }
}

/// An encrypted connection.
pub(super) struct Stream(Box<tokio_rustls::client::TlsStream<Socket>>);

impl TlsStream for Stream {
    fn channel_binding(&self) -> ChannelBinding {
        let certificates = self.0.get_ref().1.peer_certificates();
        let binding = certificates.and_then(|all| end_point(all.first()?));
        binding.map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

/// The hash of a certificate by the hash of its own signature (RFC 5929), which binds a password
/// to this server. `None` for signatures that we cannot name the hash of.
fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    // Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, … }, … }
    let (whole, _) = element(certificate)?;
    let (_, rest) = element(whole)?;
    let (algorithm, _) = element(rest)?;
    let (name, _) = element(algorithm)?;
    let (last, family) = name.split_last()?;
    let suite = match (family, last) {
        (RSA, 11) | (ECDSA, 2) => ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
        (RSA, 12) | (ECDSA, 3) => ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
        _ => return None,
    };
    Some(suite.tls13()?.common.hash_provider.hash(certificate).as_ref().to_vec())
}

/// The content of the first element of DER, and what follows it.
fn element(der: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, body) = der.get(1..)?.split_first()?;
    let digits = usize::from(first.saturating_sub(0x80));
    let (length, body) = match digits {
        0 => (usize::from(first), body),
        1..=4 => {
            let (length, body) = body.split_at_checked(digits)?;
            (length.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit)), body)
        }
        _ => return None,
    };
    body.split_at_checked(length)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut *self.0).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.0).poll_shutdown(cx)
    }
}
