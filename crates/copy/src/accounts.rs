//! Accounts and roles, with what they may do: as the server itself writes them.

use grove_engine::io::{CopyError, Leg};

use crate::connection::{Connection, refused, text};
use crate::literal::name;

/// Accounts that belong to the server, or to its installation on one machine.
const RESERVED: [&str; 5] = [
    "mysql.sys",
    "mysql.session",
    "mysql.infoschema",
    "mariadb.sys",
    "debian-sys-maint",
];
/// MariaDB's role that everybody has. It is always there.
const PUBLIC: &str = "PUBLIC";

const ER_ACCESS_DENIED_NO_PASSWORD: u16 = 1698;
/// ER_PASSWORD_NO_MATCH, ER_NONEXISTING_GRANT: an account that stands in the table and is not in force, such as one with a host name where
/// names are not resolved.
const NOT_IN_FORCE: [u16; 2] = [1133, 1141];

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Account {
    /// `` `user`@`host` ``, or the name of a role between backticks; PUBLIC as it is.
    pub name: String,
    pub is_role: bool,
    pub create: Option<String>,
    pub grants: Vec<String>,
}

impl Account {
    fn kind(&self) -> &'static str {
        match self.is_role {
            true => "ROLE",
            false => "USER",
        }
    }
}

async fn listed<L: Leg>(from: &mut Connection<L>) -> Result<Vec<(String, bool)>, CopyError> {
    let version = from.ask("SELECT VERSION()").await?;
    let is_mariadb = version.first().is_some_and(|row| text(row, 0).contains("MariaDB"));
    let question = match is_mariadb {
        true => "SELECT User, Host, is_role FROM mysql.user ORDER BY is_role DESC, User, Host",
        // Roles are accounts there.
        false => "SELECT User, Host, 'N' FROM mysql.user ORDER BY User, Host",
    };
    let accounts = from.ask(question).await?;
    let accounts = accounts
        .iter()
        .map(|row| (text(row, 0), text(row, 1), text(row, 2) == "Y"));
    let others = accounts.filter(|(user, _, _)| !RESERVED.contains(&user.as_str()));
    let named = others.map(|(user, host, is_role)| match is_role {
        true if user == PUBLIC => (PUBLIC.to_owned(), true),
        true => (name(&user), true),
        false => (format!("{}@{}", name(&user), name(&host)), false),
    });
    Ok(named.collect())
}

pub(crate) async fn read<L: Leg>(from: &mut Connection<L>) -> Result<Vec<Account>, CopyError> {
    let mut accounts = Vec::new();
    for (account, is_role) in listed(from).await? {
        let create = match (is_role, account.as_str()) {
            (true, PUBLIC) => None,
            (true, role) => Some(format!("CREATE ROLE {role}")),
            (false, user) => {
                let Some(shown) = from
                    .ask_unless(&format!("SHOW CREATE USER {user}"), &NOT_IN_FORCE)
                    .await?
                else {
                    continue;
                };
                shown.first().map(|row| text(row, 0))
            }
        };
        let grants = from.ask(format!("SHOW GRANTS FOR {account}")).await?;
        accounts.push(Account {
            grants: grants.iter().map(|row| text(row, 0)).collect(),
            name: account,
            is_role,
            create,
        });
    }
    // An account whose default is a role needs that first.
    accounts.sort_by_key(|account| {
        let needs_roles = account
            .create
            .as_ref()
            .is_some_and(|sql| sql.contains(" DEFAULT ROLE "));
        (!account.is_role, needs_roles)
    });
    Ok(accounts)
}

/// Replaces the accounts of a server by these, except the one that asks. Those that are there already stay untouched.
pub(crate) async fn make<L: Leg>(into: &mut Connection<L>, accounts: &[Account]) -> Result<(), CopyError> {
    let own = own(into).await?;
    let there = read(into).await?;
    let differs = |account: &&Account| account.name != own && !there.contains(account);
    for account in &there {
        let is_wanted = accounts.iter().any(|wanted| wanted.name == account.name);
        if !is_wanted && account.name != own && account.name != PUBLIC {
            into.say(format!("DROP {} {}", account.kind(), account.name)).await?;
        }
    }
    for account in accounts.iter().filter(differs) {
        if let Some(create) = &account.create {
            let (kind, name) = (account.kind(), &account.name);
            into.say(format!("DROP {kind} IF EXISTS {name}")).await?;
            into.say(create).await?;
        }
    }
    for grant in accounts.iter().filter(differs).flat_map(|account| &account.grants) {
        match into.attempt(grant.as_bytes()).await? {
            None => {}
            // Only who has it may give it. Every server has such grants for its first accounts, and nothing that clients do depends on them.
            Some(err) if err.code == ER_ACCESS_DENIED_NO_PASSWORD && grant.starts_with("GRANT PROXY") => {
                tracing::warn!(grant, "was not copied: Grove's account lacks the privilege itself");
            }
            Some(err) => return Err(refused(grant.as_bytes(), &err)),
        }
    }
    into.say("FLUSH PRIVILEGES").await
}

/// The account that asks.
async fn own<L: Leg>(into: &mut Connection<L>) -> Result<String, CopyError> {
    let rows = into.ask("SELECT CURRENT_USER()").await?;
    let account = rows.first().map(|row| text(row, 0)).unwrap_or_default();
    let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
    Ok(format!("{}@{}", name(user), name(host)))
}
