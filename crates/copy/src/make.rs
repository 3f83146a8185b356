//! Making everything on the server that the copy goes to.

use grove_engine::io::{CopyError, Leg};

use crate::accounts::{self, Account};
use crate::connection::{Connection, refused, text};
use crate::definitions::Program;
use crate::literal::name;
use crate::sequences;
use crate::survey::Survey;

/// Nothing is checked while it is made: it was right where it comes from.
pub(crate) async fn prepare<L: Leg>(into: &mut Connection<L>) -> Result<(), CopyError> {
    into.say("SET NAMES utf8mb4").await?;
    plain_context(into).await?;
    into.try_to_say("SET SESSION print_identified_with_as_hex=ON").await?;
    into.say("SET SESSION foreign_key_checks=0, unique_checks=0, wait_timeout=86400, net_read_timeout=3600")
        .await?;
    into.say("SET SESSION max_error_count=65535").await?;
    let longest = into.ask("SELECT @@max_allowed_packet").await?;
    if let Some(longest) = longest.first().and_then(|row| text(row, 0).parse().ok()) {
        into.longest_statement = longest;
    }
    for optional in [
        "SET SESSION sql_require_primary_key=OFF",
        "SET SESSION explicit_defaults_for_timestamp=ON",
        "SET SESSION sql_generate_invisible_primary_key=OFF",
        "SET SESSION restrict_fk_on_non_standard_key=OFF",
        "SET SESSION check_constraint_checks=OFF",
        "SET SESSION innodb_strict_mode=OFF",
        "SET SESSION max_statement_time=0",
    ] {
        into.try_to_say(optional).await?;
    }
    Ok(())
}

async fn plain_context<L: Leg>(into: &mut Connection<L>) -> Result<(), CopyError> {
    into.say(
        "SET SESSION sql_mode='NO_AUTO_VALUE_ON_ZERO,NO_ENGINE_SUBSTITUTION,ALLOW_INVALID_DATES', time_zone='+00:00'",
    )
    .await
}

/// Removes everything, first what says that the server holds something of the log.
pub(crate) async fn empty<L: Leg>(into: &mut Connection<L>) -> Result<(), CopyError> {
    into.say("DROP DATABASE IF EXISTS `_grove`").await?;
    let schemas = into
        .ask(
            "SELECT SCHEMA_NAME FROM information_schema.SCHEMATA \
             WHERE LOWER(SCHEMA_NAME) NOT IN ('mysql','information_schema','performance_schema','sys')",
        )
        .await?;
    for row in schemas {
        into.say(format!("DROP DATABASE {}", name(&text(&row, 0)))).await?;
    }
    Ok(())
}

/// Schemas, sequences, and tables without rows.
pub(crate) async fn tables<L: Leg>(into: &mut Connection<L>, survey: &Survey) -> Result<(), CopyError> {
    for (_, create) in &survey.schemas {
        into.say(create).await?;
    }
    for (sequence, values) in &survey.sequences {
        sequences::make(into, sequence, values).await?;
    }
    for table in &survey.tables {
        into.say(format!("USE {}", name(&table.schema))).await?;
        into.say(&table.create).await?;
    }
    Ok(())
}

/// Routines first, because views may call them; triggers only now that the rows are there.
pub(crate) async fn programs<L: Leg>(into: &mut Connection<L>, survey: &Survey) -> Result<(), CopyError> {
    for program in &survey.routines {
        must_make(into, program).await?;
    }
    views(into, &survey.views).await?;
    for program in survey.triggers.iter().chain(&survey.events) {
        must_make(into, program).await?;
    }
    plain_context(into).await
}

/// Views use each other: those that cannot be made yet are tried again as long as some can.
async fn views<L: Leg>(into: &mut Connection<L>, views: &[Program]) -> Result<(), CopyError> {
    let mut left: Vec<&Program> = views.iter().collect();
    while !left.is_empty() {
        let mut not_yet = Vec::new();
        let mut reason = None;
        for &view in &left {
            if let Some(err) = make(into, view).await? {
                not_yet.push(view);
                reason = Some(format!(
                    "the view {}.{} is not valid: error {}: {}; repair it or drop it",
                    view.schema,
                    view.name,
                    err.code,
                    String::from_utf8_lossy(&err.message)
                ));
            }
        }
        if let (true, Some(reason)) = (not_yet.len() == left.len(), reason) {
            // It is broken where it comes from, too.
            return Err(CopyError::Unsuitable(reason));
        }
        left = not_yet;
    }
    Ok(())
}

async fn must_make<L: Leg>(into: &mut Connection<L>, program: &Program) -> Result<(), CopyError> {
    match make(into, program).await? {
        None => Ok(()),
        Some(err) => {
            let place = format!("{}.{}", program.schema, program.name);
            Err(refused(place.as_bytes(), &err))
        }
    }
}

/// A view has no sql_mode of its own: it must not be read in that of the program before it.
async fn make<L: Leg>(into: &mut Connection<L>, program: &Program) -> Result<Option<grove_wire::ErrPacket>, CopyError> {
    plain_context(into).await?;
    into.say(format!("USE {}", name(&program.schema))).await?;
    for assignment in &program.context {
        into.say(assignment).await?;
    }
    let refusal = into.attempt(&program.create).await?;
    into.say("SET NAMES utf8mb4").await?;
    Ok(refusal)
}

/// Accounts, each replaced by its like at once, and then what they may do. Grove's own account stays as it is.
pub(crate) async fn accounts<L: Leg>(into: &mut Connection<L>, accounts: &[Account]) -> Result<(), CopyError> {
    // Accounts may have rights there.
    for statement in grove_engine::io::OWN_TABLES {
        into.say(statement).await?;
    }
    accounts::make(into, accounts).await
}

/// The server holds something of the log from now on.
pub(crate) async fn standing<L: Leg>(into: &mut Connection<L>, statements: &[String]) -> Result<(), CopyError> {
    for statement in statements {
        into.say(statement).await?;
    }
    Ok(())
}
