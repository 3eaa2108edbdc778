//! Stands in for private keys and certificates in a build without them: the functions exist and say so.

use super::anys;
use crate::call::Functions;
use crate::error::Fail;

pub(super) fn install(f: &mut Functions) {
    for name in ["genPrivateKey", "buildCustomCert", "genCA", "genSelfSignedCert", "genSignedCert"] {
        f.variadic(name, anys(1), move |_, _| {
            Err(Fail::text(format!(
                "{name} is not part of this build: it was made without the feature `certs`"
            )))
        });
    }
}
