//! What a password's proof is bound to: the server's certificate (`tls-server-end-point`, RFC 5929 section 4.1). Someone in
//! between, whose certificate is another one, cannot pass the proof on.

use sha2::{Digest as _, Sha256, Sha384, Sha512};

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;
/// 1.2.840.113549.1.1: signatures with RSA; the last number says with which hash.
const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
/// 1.2.840.10045.4: signatures with ECDSA.
const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04];

/// The hash of a certificate, by the hash function that it is signed with. `None` where that has none or several (Ed25519, PSS):
/// there Postgres offers no binding either, or nothing says which.
pub(super) fn server_end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (algorithm, last) = signature_algorithm(certificate)?;
    // MD5 and SHA-1 are replaced by what is safe.
    match (algorithm, last) {
        (RSA, [4 | 5 | 11]) | (ECDSA, [1] | [3, 2]) => Some(Sha256::digest(certificate).to_vec()),
        (RSA, [12]) | (ECDSA, [3, 3]) => Some(Sha384::digest(certificate).to_vec()),
        (RSA, [13]) | (ECDSA, [3, 4]) => Some(Sha512::digest(certificate).to_vec()),
        _ => None,
    }
}

/// `Certificate ::= SEQUENCE { tbsCertificate SEQUENCE, signatureAlgorithm SEQUENCE { OBJECT IDENTIFIER, .. }, .. }`, split where
/// the family ends.
fn signature_algorithm(certificate: &[u8]) -> Option<(&'static [u8], &[u8])> {
    let (whole, _) = element(SEQUENCE, certificate)?;
    let (_, rest) = element(SEQUENCE, whole)?;
    let (algorithm, _) = element(SEQUENCE, rest)?;
    let (identifier, _) = element(OBJECT_IDENTIFIER, algorithm)?;
    [RSA, ECDSA].into_iter().find_map(|family| Some((family, identifier.strip_prefix(family)?)))
}

/// The content of the first element, if it is of this kind, and what follows it.
fn element(tag: u8, bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&found, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        // So many bytes have the length. More than four no certificate needs.
        0x81..=0x84 => {
            let (length, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            (length.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)), rest)
        }
        _ => return None,
    };
    (found == tag).then(|| rest.split_at_checked(length))?
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_ED25519};

    use super::*;

    fn certificate(algorithm: &'static rcgen::SignatureAlgorithm) -> Vec<u8> {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let params = CertificateParams::new(["localhost".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_hash_is_that_of_the_signature() {
        let short = certificate(&PKCS_ECDSA_P256_SHA256);
        assert_eq!(server_end_point(&short), Some(Sha256::digest(&short).to_vec()));
        let long = certificate(&PKCS_ECDSA_P384_SHA384);
        assert_eq!(server_end_point(&long), Some(Sha384::digest(&long).to_vec()));
        assert_eq!(server_end_point(&certificate(&PKCS_ED25519)), None);
    }

    #[test]
    fn what_is_no_certificate_has_none() {
        let whole = certificate(&PKCS_ECDSA_P256_SHA256);
        for end in 0..64 {
            assert_eq!(server_end_point(&whole[..end]), None);
        }
        for bytes in
            [&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff][..], &[0x30, 0x80, 0, 0], &[0x30, 0x85, 0, 0, 0, 0, 0]]
        {
            assert_eq!(server_end_point(bytes), None);
        }
    }
}
