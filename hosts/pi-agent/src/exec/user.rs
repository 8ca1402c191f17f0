//! As whom a command runs.

use std::collections::BTreeMap;
use std::ffi::CString;

use nix_process::unistd::{Gid, Uid, User, geteuid, getgrouplist};

use super::stage::Identity;

/// A user of this machine, looked up once: at the start.
#[derive(Clone, Debug)]
pub(crate) struct RunAs {
    name: String,
    home: String,
    /// `None`: the agent's own user.
    identity: Option<Identity>,
}

impl RunAs {
    /// The user that the agent is.
    pub(crate) fn agent() -> Self {
        let own = geteuid();
        let user = User::from_uid(own).ok().flatten();
        let (name, home) = user.map_or_else(|| (own.to_string(), "/".into()), |user| (user.name, user.dir));
        Self { name, home: home.display().to_string(), identity: None }
    }

    /// By name or number. A number need not be in the system's list: then it is user and group.
    pub(crate) fn find(name: &str) -> Option<Self> {
        let number = name.parse::<u32>().ok();
        let listed = match number {
            Some(number) => User::from_uid(Uid::from_raw(number)),
            None => User::from_name(name),
        };
        let (name, home, uid, gid) = match (listed.ok().flatten(), number) {
            (Some(user), _) => (user.name, user.dir.display().to_string(), user.uid, user.gid),
            (None, Some(number)) => (name.to_owned(), "/".to_owned(), Uid::from_raw(number), Gid::from_raw(number)),
            (None, None) => return None,
        };
        if uid == geteuid() {
            return Some(Self { name, home, identity: None });
        }
        let groups = CString::new(name.as_str()).ok().and_then(|name| getgrouplist(&name, gid).ok());
        let groups = groups.unwrap_or_else(|| vec![gid]).into_iter().map(Gid::as_raw).collect();
        Some(Self { name, home, identity: Some(Identity { uid: uid.as_raw(), gid: gid.as_raw(), groups }) })
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn identity(&self) -> Option<Identity> {
        self.identity.clone()
    }

    /// What every command finds in its environment: nothing of the agent's own.
    pub(crate) fn environment(&self, path: &str) -> BTreeMap<String, String> {
        let base =
            [("PATH", path), ("LANG", "C.UTF-8"), ("HOME", &self.home), ("USER", &self.name), ("LOGNAME", &self.name)];
        base.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }
}
