//! Accounts and roles, with what they may do: as the server itself writes them.

use grove_engine::io::{CopyError, Leg};

use crate::connection::{Connection, text};
use crate::grants;
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
    let question = match is_mariadb(from).await? {
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

/// Replaces the accounts of a server by these, except the one that asks and the roles from which it has its own rights. Those that are there already stay
/// untouched.
pub(crate) async fn make<L: Leg>(into: &mut Connection<L>, accounts: &[Account]) -> Result<(), CopyError> {
    let own = own(into).await?;
    let before = read(into).await?;
    let mut kept = enabled_roles(into, &before).await?;
    warn_of_surplus(&before, accounts, &kept);
    kept.extend([own.clone(), PUBLIC.to_owned()]);
    let there = remove_others(into, accounts, &own, &kept).await?;
    if there
        .iter()
        .any(|account| account.name == PUBLIC && !accounts.contains(account))
    {
        into.say("REVOKE ALL PRIVILEGES, GRANT OPTION FROM PUBLIC").await?;
    }
    let missing = || {
        let missing = accounts.iter().filter(|account| !there.contains(account));
        missing.filter(|account| account.name != own)
    };
    for account in missing() {
        let is_kept = kept.contains(&account.name) && there.iter().any(|other| other.name == account.name);
        if let (Some(create), false) = (&account.create, is_kept) {
            // It may stand there without being in force.
            let (kind, name) = (account.kind(), &account.name);
            into.say(format!("DROP {kind} IF EXISTS {name}")).await?;
            into.say(create).await?;
        }
    }
    for grant in missing().flat_map(|account| &account.grants) {
        grants::give(into, grant).await?;
    }
    give_back(into, &own, &before).await?;
    into.say("FLUSH PRIVILEGES").await
}

/// Drops accounts until those that are left are wanted as they are. A role that is dropped changes the accounts which had it, so they are read again. Gives those
/// that are left.
async fn remove_others<L: Leg>(
    into: &mut Connection<L>,
    wanted: &[Account],
    own: &str,
    kept: &[String],
) -> Result<Vec<Account>, CopyError> {
    loop {
        let there = read(into).await?;
        let others: Vec<&Account> = there
            .iter()
            .filter(|account| !kept.contains(&account.name))
            .filter(|account| !wanted.contains(account) || cannot_be_given(account, wanted, own, &there))
            .collect();
        if others.is_empty() {
            return Ok(there);
        }
        for account in others {
            into.say(format!("DROP {} IF EXISTS {}", account.kind(), account.name))
                .await?;
        }
    }
}

/// Whether somebody still has to get this role, and Grove's own account may not give it: on MariaDB only who made a role may, so it is made anew.
fn cannot_be_given(role: &Account, wanted: &[Account], own: &str, there: &[Account]) -> bool {
    let membership = format!("GRANT {} TO ", role.name);
    let is_needed = wanted
        .iter()
        .filter(|account| account.name != own && !there.contains(account))
        .any(|account| account.grants.iter().any(|grant| grant.starts_with(&membership)));
    let right = format!("{membership}{own} WITH ADMIN OPTION");
    let may_give = there
        .iter()
        .any(|account| account.name == own && account.grants.contains(&right));
    role.is_role && is_needed && !may_give
}

/// The roles that Grove's own account acts with, and those that they have: without them it may have no right to go on.
async fn enabled_roles<L: Leg>(into: &mut Connection<L>, there: &[Account]) -> Result<Vec<String>, CopyError> {
    let question = match is_mariadb(into).await? {
        true => "SELECT ROLE_NAME FROM information_schema.ENABLED_ROLES WHERE ROLE_NAME IS NOT NULL",
        false => "SELECT ROLE_NAME, ROLE_HOST FROM information_schema.ENABLED_ROLES",
    };
    let rows = into.ask(question).await?;
    let mut roles: Vec<String> = rows
        .iter()
        .map(|row| match row.len() {
            1 => name(&text(row, 0)),
            _ => format!("{}@{}", name(&text(row, 0)), name(&text(row, 1))),
        })
        .collect();
    let mut next = 0;
    while let Some(role) = roles.get(next) {
        let has = |other: &&Account| {
            let its = there.iter().filter(|account| account.name == *role);
            its.flat_map(|account| &account.grants)
                .any(|grant| !grant.contains(" ON ") && grant.contains(&other.name))
        };
        let inner: Vec<String> = there.iter().filter(has).map(|other| other.name.clone()).collect();
        for role in inner {
            if !roles.contains(&role) {
                roles.push(role);
            }
        }
        next += 1;
    }
    Ok(roles)
}

/// What is kept may permit more than where it comes from.
fn warn_of_surplus(there: &[Account], wanted: &[Account], kept: &[String]) {
    for account in there.iter().filter(|account| kept.contains(&account.name)) {
        let its = wanted.iter().find(|other| other.name == account.name);
        let is_wanted = |grant: &&String| its.is_some_and(|its| its.grants.contains(grant));
        let surplus: Vec<&String> = account.grants.iter().filter(|grant| !is_wanted(grant)).collect();
        if its.is_none() || !surplus.is_empty() {
            tracing::warn!(
                role = account.name,
                ?surplus,
                "stays, because Grove's account has its rights from it"
            );
        }
    }
}

/// Gives Grove's own account the roles again that have been made anew.
async fn give_back<L: Leg>(into: &mut Connection<L>, own: &str, before: &[Account]) -> Result<(), CopyError> {
    let now = read(into).await?;
    let grants = |accounts: &[Account]| -> Vec<String> {
        let own = accounts.iter().filter(|account| account.name == own);
        own.flat_map(|account| account.grants.clone()).collect()
    };
    let now = grants(&now);
    for grant in grants(before).iter().filter(|grant| !now.contains(grant)) {
        if let Some(err) = into.attempt(grant.as_bytes()).await? {
            let reason = String::from_utf8_lossy(&err.message);
            tracing::warn!(grant, %reason, "Grove's account does not have it any more");
        }
    }
    Ok(())
}

async fn is_mariadb<L: Leg>(connection: &mut Connection<L>) -> Result<bool, CopyError> {
    let version = connection.ask("SELECT VERSION()").await?;
    Ok(version.first().is_some_and(|row| text(row, 0).contains("MariaDB")))
}

/// The account that asks.
async fn own<L: Leg>(into: &mut Connection<L>) -> Result<String, CopyError> {
    let rows = into.ask("SELECT CURRENT_USER()").await?;
    let account = rows.first().map(|row| text(row, 0)).unwrap_or_default();
    let (user, host) = account.rsplit_once('@').unwrap_or((&account, "%"));
    Ok(format!("{}@{}", name(user), name(host)))
}
