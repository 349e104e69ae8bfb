//! TLS to Postgres, in libpq's words: what `sslmode` and `sslrootcert` in a server's URL mean.
//!
//! | `sslmode` | encrypted | whose certificate |
//! |---|---|---|
//! | `disable` | no | |
//! | `prefer` (default) | if the server can | anyone's |
//! | `require` | yes | anyone's; with `sslrootcert` as `verify-ca` |
//! | `verify-ca` | yes | signed by `sslrootcert` |
//! | `verify-full` | yes | signed by `sslrootcert`, for the host in the URL |

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_postgres::config::SslMode;
use tokio_postgres::tls::{ChannelBinding, MakeTlsConnect, TlsConnect};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

mod binding;

/// What a URL says about TLS, checked.
#[derive(Clone)]
pub(super) struct Tls {
    pub(super) mode: SslMode,
    config: Arc<ClientConfig>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Trust {
    Anyone,
    SignedByRoot,
    SignedByRootForHost,
}

impl Tls {
    /// # Errors
    /// Words that libpq does not have, and roots that cannot be read.
    pub(super) fn new(mode: Option<&str>, root: Option<&str>) -> Result<Self, String> {
        let (mode, trust) = match mode.unwrap_or("prefer") {
            "disable" => (SslMode::Disable, Trust::Anyone),
            "prefer" => (SslMode::Prefer, Trust::Anyone),
            "require" if root.is_none() => (SslMode::Require, Trust::Anyone),
            "require" | "verify-ca" => (SslMode::Require, Trust::SignedByRoot),
            "verify-full" => (SslMode::Require, Trust::SignedByRootForHost),
            _ => {
                return Err("sslmode is one of disable, prefer, require, verify-ca, verify-full".to_owned());
            }
        };
        let provider = Arc::new(ring::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match (trust, root) {
            (Trust::Anyone, _) => Arc::new(Verifier { inner: None, trust, provider: provider.clone() }),
            (_, None) => {
                let example = "sslrootcert=/etc/ssl/certs/ca-certificates.crt";
                return Err(format!("this sslmode needs to know whom to trust; add for example {example}"));
            }
            (_, Some(path)) => {
                let roots = Arc::new(roots(Path::new(path))?);
                let inner = WebPkiServerVerifier::builder_with_provider(roots, provider.clone()).build();
                let inner = inner.map_err(|e| format!("sslrootcert {path}: {e}"))?;
                Arc::new(Verifier { inner: Some(inner), trust, provider: provider.clone() })
            }
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| format!("TLS cannot be used: {e}"))?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Ok(Self { mode, config: Arc::new(config) })
    }
}

fn roots(path: &Path) -> Result<RootCertStore, String> {
    let unreadable = |e| format!("sslrootcert {}: {e}", path.display());
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let added = roots.add(certificate.map_err(unreadable)?);
        added.map_err(|e| format!("sslrootcert {}: {e}", path.display()))?;
    }
    if roots.is_empty() {
        return Err(format!("sslrootcert {}: no certificate (PEM) in it", path.display()));
    }
    Ok(roots)
}

/// rustls trusts those whom the Web trusts, or nobody; libpq has steps in between.
#[derive(Debug)]
struct Verifier {
    /// `None`: anyone is trusted.
    inner: Option<Arc<WebPkiServerVerifier>>,
    trust: Trust,
    provider: Arc<CryptoProvider>,
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
        let Some(inner) = &self.inner else { return Ok(ServerCertVerified::assertion()) };
        let verified = inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        match verified {
            // The name is looked at last: all else was right.
            Err(rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.trust == Trust::SignedByRoot => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl<S> MakeTlsConnect<S> for Tls
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type TlsConnect = Connect;
    type Error = io::Error;

    fn make_tls_connect(&mut self, host: &str) -> Result<Connect, io::Error> {
        Ok(Connect { connector: TlsConnector::from(self.config.clone()), host: host.to_owned() })
    }
}

pub(crate) struct Connect {
    connector: TlsConnector,
    host: String,
}

impl<S> TlsConnect<S> for Connect
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    type Stream = Encrypted<S>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Encrypted<S>>> + Send>>;

    fn connect(self, stream: S) -> Self::Future {
        Box::pin(async move {
            let name = ServerName::try_from(self.host.clone()).map_err(io::Error::other)?;
            let connected = self.connector.connect(name, stream).await;
            Ok(Encrypted(connected.map_err(|e| with_advice(e, &self.host))?))
        })
    }
}

/// What to do about it, where that is known.
fn with_advice(error: io::Error, host: &str) -> io::Error {
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let Some(rustls::Error::InvalidCertificate(certificate)) = refused else { return error };
    use CertificateError::{
        BadSignature, Expired, ExpiredContext, NotValidForName, NotValidForNameContext, Other, UnknownIssuer,
    };
    let advice = if matches!(certificate, UnknownIssuer | BadSignature) {
        "none of those in sslrootcert has signed it; name the file with the certificate of the authority that did"
            .to_owned()
    } else if matches!(certificate, NotValidForName | NotValidForNameContext { .. }) {
        format!(
            "it is not made out for {host}; write the name that it has into the URL (hostaddr= for its address), or use \
             sslmode=verify-ca"
        )
    } else if matches!(certificate, Expired | ExpiredContext { .. }) {
        "it has expired; the server needs a new one".to_owned()
    } else if matches!(certificate, Other(_)) {
        "a server needs a certificate of its own, not that of an authority (CA:TRUE)".to_owned()
    } else {
        return error;
    };
    io::Error::other(format!("the server's certificate was refused ({certificate}): {advice}"))
}

/// A connection to Postgres inside TLS.
pub(crate) struct Encrypted<S>(TlsStream<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Encrypted<S> {
    /// What a password's proof is bound to.
    pub(super) fn server_end_point(&self) -> Option<Vec<u8>> {
        let certificate = self.0.get_ref().1.peer_certificates()?.first()?;
        binding::server_end_point(certificate)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> tokio_postgres::tls::TlsStream for Encrypted<S> {
    fn channel_binding(&self) -> ChannelBinding {
        self.server_end_point().map_or_else(ChannelBinding::none, ChannelBinding::tls_server_end_point)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for Encrypted<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Encrypted<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
