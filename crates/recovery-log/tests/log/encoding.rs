//! Every entry has one form, and no bytes make the decoder fail in any way but by saying so.

use bytes::Bytes;
use grove_recovery_log::{
    Checkpoint, Entry, Intent, Kind, LoggedStatement, MembershipCause, MembershipChange, Origin, Outcome,
    ResultOutcome, Standalone, StatementBody, Temporary, TemporaryUse, WriteUnit, decode, encode,
};
use proptest::collection::vec;
use proptest::prelude::*;

const KINDS: [Kind; 5] = [
    Kind::Unit,
    Kind::Intent,
    Kind::Standalone,
    Kind::Membership,
    Kind::Checkpoint,
];

fn some_bytes() -> impl Strategy<Value = Bytes> {
    vec(any::<u8>(), 0..40).prop_map(Bytes::from)
}

fn number() -> impl Strategy<Value = u64> {
    // Numbers of every length, not only long ones.
    (any::<u64>(), 0..64_u32).prop_map(|(number, shift)| number >> shift)
}

fn origin() -> impl Strategy<Value = Origin> {
    let fields = (".{0,9}", number(), any::<u16>(), some_bytes(), any::<u32>(), number());
    fields.prop_map(
        |(user, capabilities, collation, schema, connection_id, session)| Origin {
            user,
            capabilities,
            collation,
            schema,
            connection_id,
            session,
        },
    )
}

fn body() -> impl Strategy<Value = StatementBody> {
    let execute = (some_bytes(), some_bytes(), vec((any::<u16>(), some_bytes()), 0..3));
    prop_oneof![
        some_bytes().prop_map(StatementBody::Text),
        some_bytes().prop_map(StatementBody::LoadWithoutFile),
        (some_bytes(), some_bytes()).prop_map(|(text, file)| StatementBody::Load { text, file }),
        (some_bytes(), some_bytes()).prop_map(|(text, attributes)| StatementBody::Attributed { text, attributes }),
        execute.prop_map(|(text, parameters, long_data)| StatementBody::Execute {
            text,
            parameters,
            long_data
        }),
    ]
}

fn result() -> impl Strategy<Value = ResultOutcome> {
    prop_oneof![
        (number(), number(), some_bytes()).prop_map(|(affected_rows, last_insert_id, info)| ResultOutcome::Ok {
            affected_rows,
            last_insert_id,
            info
        }),
        any::<u16>().prop_map(|code| ResultOutcome::Err { code }),
        number().prop_map(|rows| ResultOutcome::Rows { rows }),
    ]
}

fn statement() -> impl Strategy<Value = LoggedStatement> {
    let fields = (
        body(),
        vec(some_bytes(), 0..4),
        number(),
        any::<bool>(),
        vec(result(), 0..4),
        any::<bool>(),
    );
    fields.prop_map(
        |(body, context, generated_id, undone, results, in_transaction)| LoggedStatement {
            body,
            context,
            generated_id,
            undone,
            outcome: Outcome {
                results: results.into(),
                in_transaction,
            },
        },
    )
}

fn temporary() -> impl Strategy<Value = Temporary> {
    let usage = prop_oneof![
        Just(TemporaryUse::None),
        Just(TemporaryUse::Untouched),
        Just(TemporaryUse::Needed),
        Just(TemporaryUse::Only)
    ];
    let names = vec((some_bytes(), some_bytes()), 0..3);
    (usage, names, vec(some_bytes(), 0..3)).prop_map(|(usage, names, copy)| Temporary { usage, names, copy })
}

fn unit() -> impl Strategy<Value = Entry> {
    let opening = vec(some_bytes(), 0..4);
    let fields = (origin(), number(), opening, temporary(), vec(statement(), 0..5));
    fields.prop_map(|(origin, depends_on, opening, temporary, statements)| {
        Entry::Unit(WriteUnit {
            origin,
            depends_on,
            opening,
            temporary,
            statements,
        })
    })
}

fn entry() -> impl Strategy<Value = Entry> {
    let cause = prop_oneof![
        Just(MembershipCause::Formed),
        (".{0,9}", ".{0,9}").prop_map(|(server, reason)| MembershipCause::Evicted { server, reason }),
    ];
    prop_oneof![
        unit(),
        (origin(), body(), vec(some_bytes(), 0..3)).prop_map(|(origin, body, context)| Entry::Intent(Intent {
            origin,
            body,
            context
        })),
        (origin(), number(), temporary(), statement()).prop_map(|(origin, intent, temporary, statement)| {
            Entry::Standalone(Standalone {
                origin,
                intent,
                temporary,
                statement,
            })
        }),
        (number(), ".{0,9}", vec(".{0,5}", 0..4), cause).prop_map(|(epoch, lead, online, cause)| Entry::Membership(
            MembershipChange {
                epoch,
                lead,
                online,
                cause
            }
        )),
        ".{0,20}".prop_map(|name| Entry::Checkpoint(Checkpoint { name })),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn what_is_encoded_is_decoded_to_the_same(entry in entry()) {
        let (kind, payload) = encode(&entry);
        prop_assert_eq!(decode(kind, payload.into()), Ok(entry));
    }

    #[test]
    fn a_payload_that_is_cut_or_longer_is_refused(entry in entry(), cut in any::<prop::sample::Index>(), more in any::<u8>()) {
        let (kind, mut payload) = encode(&entry);
        let short = Bytes::copy_from_slice(&payload[..cut.index(payload.len())]);
        prop_assert!(decode(kind, short).is_err());
        payload.push(more);
        prop_assert!(decode(kind, payload.into()).is_err());
    }

    #[test]
    fn whatever_is_decoded_encodes_to_the_same_bytes(
        entry in entry(), place in any::<prop::sample::Index>(), change in 1..=u8::MAX, kind in prop::sample::select(&KINDS[..])
    ) {
        let (_, mut payload) = encode(&entry);
        let place = place.index(payload.len());
        payload[place] ^= change;
        match decode(kind, Bytes::copy_from_slice(&payload)) {
            Ok(entry) => prop_assert_eq!(encode(&entry), (kind, payload)),
            Err(error) => prop_assert!(error.at <= payload.len() && !error.wrong.is_empty()),
        }
    }

    #[test]
    fn any_bytes_are_decoded_or_refused(payload in vec(any::<u8>(), 0..200), kind in prop::sample::select(&KINDS[..])) {
        if let Ok(entry) = decode(kind, Bytes::copy_from_slice(&payload)) {
            prop_assert_eq!(encode(&entry), (kind, payload));
        }
    }
}

/// The bytes of version 1. They must never change: logs on disks have them.
#[test]
fn the_form_of_version_1_stands() {
    let unit = Entry::Unit(WriteUnit {
        origin: Origin {
            user: "app".into(),
            capabilities: 0x81,
            collation: 45,
            schema: Bytes::from_static(b"db"),
            connection_id: 7,
            session: 9,
        },
        depends_on: 300,
        opening: vec![Bytes::from_static(b"\x03BEGIN")],
        temporary: Temporary::default(),
        statements: vec![LoggedStatement {
            body: StatementBody::Text(Bytes::from_static(b"\xFFX")),
            context: vec![Bytes::from_static(b"\x03SET a=1")],
            generated_id: 9,
            undone: false,
            outcome: Outcome {
                results: smallvec::smallvec![ResultOutcome::Ok {
                    affected_rows: 1,
                    last_insert_id: 0,
                    info: Bytes::new()
                }],
                in_transaction: true,
            },
        }],
    });
    let expected = [
        b"\x03app\x81\x01\x2D\x02db\x07\x09".as_slice(),
        b"\xAC\x02\x01\x06\x03BEGIN\x00\x00\x00\x01",
        b"\x01\x02\xFFX\x01\x08\x03SET a=1\x09\x00\x01\x01\x01\x00\x00\x01",
    ]
    .concat();
    assert_eq!(encode(&unit), (Kind::Unit, expected));
}
