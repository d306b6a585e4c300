//! Keys of providers and of clients: what is kept of them, and who may know them.

pub(crate) mod directory;
pub(crate) mod envelope;
pub(crate) mod master;
pub(crate) mod record;
pub(crate) mod sealed;
pub(crate) mod vault;

pub(crate) use self::directory::Directory;
pub(crate) use self::master::MasterKeys;
pub(crate) use self::vault::Vault;
