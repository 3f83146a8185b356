//! Accounts and roles, with what they may do: as the server itself writes them.

use grove_engine::io::{CopyError, Leg};

use crate::connection::{Connection, text};
use crate::literal::name;

/// Accounts that belong to the server.
const RESERVED: [&str; 4] = ["mysql.sys", "mysql.session", "mysql.infoschema", "mariadb.sys"];
/// MariaDB's role that everybody has. It is always there.
const PUBLIC: &str = "PUBLIC";

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
                let shown = from.ask(format!("SHOW CREATE USER {user}")).await?;
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

/// Replaces the accounts of a server by these, except the one that asks.
pub(crate) async fn make<L: Leg>(into: &mut Connection<L>, accounts: &[Account]) -> Result<(), CopyError> {
    let own = own(into).await?;
    for (account, is_role) in listed(into).await? {
        let goes = account != own && account != PUBLIC && !accounts.iter().any(|wanted| wanted.name == account);
        if goes {
            let kind = if is_role { "ROLE" } else { "USER" };
            into.say(format!("DROP {kind} {account}")).await?;
        }
    }
    let others = || accounts.iter().filter(|account| account.name != own);
    for account in others() {
        if let Some(create) = &account.create {
            let (kind, name) = (account.kind(), &account.name);
            into.say(format!("DROP {kind} IF EXISTS {name}")).await?;
            into.say(create).await?;
        }
    }
    for account in others() {
        for grant in &account.grants {
            into.say(grant).await?;
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
