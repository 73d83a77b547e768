//! The store's file and its disk.

use super::{Finding, Report};
use crate::cli::Failure;
use crate::server::ServerConfig;
use amochats::ScopeId;
use amochats_runtime::AccountState;
use amochats_runtime::store::{Disk, SqliteStore, Store};
use std::path::Path;

const MIB: u64 = 1 << 20;

/// Looks at the store; gives the accounts that it knows to be connected.
pub(super) async fn examine(config: &ServerConfig, report: &mut Report) -> Result<Vec<ScopeId>, Failure> {
    let settings = &config.runtime.store;
    let path = &settings.path;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    report.add(&disk(folder, settings.min_free_bytes))?;
    if !path.exists() {
        report.add(&Finding::ok("store", format!("{} will be made at the first start", path.display())))?;
        return Ok(Vec::new());
    }
    let looked = async {
        let store = SqliteStore::open_read_only(path).await?;
        Ok::<_, amochats::Error>((store.check().await?, store.accounts().known_accounts().await?))
    };
    let (damage, accounts) = match looked.await {
        Ok(looked) => looked,
        Err(error) => {
            report.add(&Finding::failed("store", error.to_string()))?;
            return Ok(Vec::new());
        }
    };
    report.add(&match damage.first() {
        None => Finding::ok("store", format!("{} is sound", path.display())),
        Some(first) => Finding::failed(
            "store",
            format!("{} is damaged: go on with a backup of it ({first})", path.display()),
        ),
    })?;
    for account in &accounts {
        if let Some(problem) = &account.problem {
            let said = format!("{} could not be connected the last time: {problem}", account.scope_id);
            report.add(&Finding::warning("account", said))?;
        }
    }
    let connected = accounts.into_iter().filter(|account| account.state == AccountState::Connected);
    Ok(connected.map(|account| account.scope_id).collect())
}

fn disk(folder: &Path, needed: u64) -> Finding {
    let disk = match Disk::of(folder) {
        Ok(disk) => disk,
        Err(error) => {
            let said = format!("the folder {} cannot be used: {error}; make it", folder.display());
            return Finding::failed("disk", said);
        }
    };
    let free = disk.free_bytes / MIB;
    match disk.network {
        Some(kind) => Finding::failed(
            "disk",
            format!(
                "{} is on a network file system ({kind}): the store needs a local disk",
                folder.display()
            ),
        ),
        None if disk.free_bytes < needed => Finding::failed(
            "disk",
            format!("{free} MiB are free, fewer than store.min_free_bytes: no webhook is kept; make room"),
        ),
        None if disk.free_bytes / 8 < needed => {
            Finding::warning("disk", format!("{free} MiB are free; make room before it is none"))
        }
        None => Finding::ok("disk", format!("{} is local, {free} MiB are free", folder.display())),
    }
}
