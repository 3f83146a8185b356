//! The protocol's small old commands, as a single server answers them: COM_STATISTICS, COM_DEBUG, COM_FIELD_LIST, COM_SET_OPTION, COM_PROCESS_KILL.

use ::bytes::Bytes;
use grove_testkit::raw_client::EVERYDAY;
use grove_testkit::{Kind, RawClient};
use grove_wire::CapabilityFlags;
use grove_wire::command::{COM_DEBUG, COM_FIELD_LIST, COM_PROCESS_KILL, COM_SET_OPTION, COM_STATISTICS};

use crate::stage::{Notes, Place, Stage};

async fn until_the_end(client: &mut RawClient, command: &[u8]) -> Vec<Bytes> {
    client.send(command).await.unwrap();
    client.read_to_end_of_rows().await.unwrap()
}

async fn field_lists(place: Place, capabilities: CapabilityFlags) -> Notes {
    let mut notes = Notes::default();
    let mut client = place.raw(capabilities).await;
    for sql in [
        "CREATE TABLE listed (id INT AUTO_INCREMENT PRIMARY KEY, name VARCHAR(30) NOT NULL DEFAULT 'nobody', more JSON)",
        "CREATE TEMPORARY TABLE passing (a BIGINT UNSIGNED DEFAULT 7)",
    ] {
        client.query(sql).await.unwrap();
    }
    for (table, wildcard) in [("listed", ""), ("listed", "n%"), ("passing", "%"), ("missing", "")] {
        let command = [&[COM_FIELD_LIST], table.as_bytes(), &[0], wildcard.as_bytes()].concat();
        notes.packets(table, &until_the_end(&mut client, &command).await);
    }
    client.query("USE mysql").await.unwrap();
    let command = [&[COM_FIELD_LIST][..], b"listed\0"].concat();
    notes.packets("in another schema", &until_the_end(&mut client, &command).await);
    notes.packets("and on", &client.query("SELECT 1").await.unwrap());
    client.query("DROP TABLE app.listed").await.unwrap();
    notes
}

async fn statistics(place: Place) -> Notes {
    let mut notes = Notes::default();
    let mut client = place.raw(EVERYDAY).await;
    client.send(&[COM_STATISTICS]).await.unwrap();
    let text = String::from_utf8(client.read().await.unwrap().to_vec()).unwrap();
    let without_figures: String = text.chars().filter(|c| !c.is_ascii_digit()).collect();
    notes.note("figures of", without_figures);
    notes.packets("debug", &until_the_end(&mut client, &[COM_DEBUG]).await);
    notes.packets("and on", &client.query("SELECT 1").await.unwrap());
    notes
}

/// Several statements in one text, as the option says; also after a server is asked again for everything.
async fn switched(place: Place, capabilities: CapabilityFlags) -> Notes {
    const SEVERAL: &str = "SELECT 1; SELECT 2, 3; DO 0";
    let mut notes = Notes::default();
    let mut client = place.raw(capabilities).await;
    notes.packets("at first", &client.query(SEVERAL).await.unwrap());
    for option in [0, 1, 1, 0, 7, 1] {
        notes.packets(
            "option",
            &until_the_end(&mut client, &[COM_SET_OPTION, option, 0]).await,
        );
        notes.packets("several", &client.query(SEVERAL).await.unwrap());
        // A write opens connections to the other servers, which must know it too.
        notes.packets("write", &client.query("SET @a = 1; SET @b = 2").await.unwrap());
        client
            .query("CREATE TABLE IF NOT EXISTS switched (a INT)")
            .await
            .unwrap();
        let sql = "INSERT INTO switched VALUES (1); INSERT INTO switched VALUES (2)";
        notes.packets("insert", &client.query(sql).await.unwrap());
        notes.packets("count", &client.query("SELECT COUNT(*) FROM switched").await.unwrap());
        client.query("DROP TABLE switched").await.unwrap();
    }
    notes.packets("reset", &client.command(&[0x1F]).await.unwrap());
    notes.packets("after a reset", &client.query(SEVERAL).await.unwrap());
    notes
}

/// Flags that change how a server behaves.
async fn flags(place: Place, flag: CapabilityFlags) -> Notes {
    let mut notes = Notes::default();
    let mut setting = place.raw(EVERYDAY).await;
    setting.query("SET GLOBAL interactive_timeout = 777").await.unwrap();
    let mut client = place.raw(EVERYDAY | flag).await;
    notes.note("in force", client.capabilities.contains(flag));
    for sql in [
        "SELECT @@wait_timeout, @@interactive_timeout, @@sql_mode LIKE '%IGNORE_SPACE%'",
        "CREATE TABLE flagged (a INT)",
        "INSERT INTO flagged VALUES (MIN (1))",
        "INSERT INTO flagged SELECT COUNT (*) FROM flagged",
        "INSERT INTO flagged VALUES (NOW () > 0), (2)",
        "SELECT app.flagged.a FROM app.flagged ORDER BY 1",
        "SELECT SUM (a) FROM flagged",
        "UPDATE flagged SET a = 2 WHERE a = 2",
    ] {
        notes.packets(sql, &client.query(sql).await.unwrap());
    }
    setting.query("SET GLOBAL interactive_timeout = DEFAULT").await.unwrap();
    notes
}

async fn process_kill(place: Place) -> Notes {
    let mut notes = Notes::default();
    let mut killer = place.raw(EVERYDAY).await;
    let mut victim = place.raw(EVERYDAY).await;
    let id = victim.greeting.connection_id;
    let answer = killer
        .command(&[&[COM_PROCESS_KILL][..], &id.to_le_bytes()].concat())
        .await;
    notes.packets("kill", &answer.unwrap());
    notes.note("victim lives", victim.query("SELECT 1").await.is_ok());
    let nobody = killer.command(&[COM_PROCESS_KILL, 0xFE, 0xFF, 0xFF, 0x7F]).await;
    notes.packets("nobody", &nobody.unwrap());
    notes
}

async fn all(kind: Kind) {
    let stage = Stage::open(kind).await;
    let without_several = CapabilityFlags(EVERYDAY.0 & !CapabilityFlags::MULTI_STATEMENTS.0);
    for capabilities in [EVERYDAY, EVERYDAY | CapabilityFlags::DEPRECATE_EOF] {
        stage.same_as_direct(|place| field_lists(place, capabilities)).await;
        stage.same_as_direct(|place| switched(place, capabilities)).await;
    }
    stage.same_as_direct(|place| switched(place, without_several)).await;
    stage.same_as_direct(statistics).await;
    for flag in [
        CapabilityFlags(0),
        CapabilityFlags::FOUND_ROWS,
        CapabilityFlags::NO_SCHEMA,
        CapabilityFlags::ODBC,
        CapabilityFlags::IGNORE_SPACE,
        CapabilityFlags::INTERACTIVE,
    ] {
        stage.same_as_direct(|place| flags(place, flag)).await;
    }
    stage.same_as_direct(process_kill).await;
}

#[tokio::test]
async fn old_commands_are_answered_as_mariadb_does() {
    all(Kind::MariaDb).await;
}

#[tokio::test]
async fn old_commands_are_answered_as_mysql_does() {
    all(Kind::MySql).await;
}
