//! Which contract this is.

use std::sync::LazyLock;

use sha2::{Digest, Sha256};

use crate::{Bucket, CATALOGUE, ObjectStore, Stream};

/// Changes with every subject, schema version, stream and bucket of the contract: the first 12 hexadecimal digits of a hash. Streams carry it, so that services of different versions notice.
#[must_use]
pub fn contract_version() -> String {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let mut hash = Sha256::new();
        for entry in CATALOGUE {
            hash.update(format!("{entry:?}\n"));
        }
        for stream in Stream::ALL {
            hash.update(format!("{} {:?}\n", stream.name(), stream.settings()));
        }
        for bucket in Bucket::ALL {
            hash.update(format!("{} {:?}\n", bucket.name(), bucket.settings()));
        }
        for store in ObjectStore::ALL {
            hash.update(format!("{} {:?}\n", store.name(), store.settings()));
        }
        hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect()
    });
    VERSION.clone()
}
