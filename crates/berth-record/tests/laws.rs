//! Laws of the encodings, for any value: what is written is read back the same, the same value has the
//! same bytes, a delete names the key of its put, and no bytes make a reader panic.
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod strategies;

use berth_model::{Format, Mutation};
use berth_record::{
    SnapshotBuilder, decode, decode_epoch, decode_remembered, decode_removal, encode, encode_epoch, encode_remembered,
    key,
};
use proptest::prelude::*;

/// The mutation that removes what this one puts.
fn delete_of(put: &Mutation) -> Option<Mutation> {
    match put {
        Mutation::PutMeta(_) | Mutation::PutPolicy(_) => None,
        Mutation::PutNode(node) => Some(Mutation::DeleteNode(node.id)),
        Mutation::PutJob(job) => Some(Mutation::DeleteJob(job.spec.id.clone())),
        Mutation::PutJobVersion(version, spec) => Some(Mutation::DeleteJobVersion(spec.id.clone(), *version)),
        Mutation::PutAlloc(alloc) => Some(Mutation::DeleteAlloc(alloc.id)),
        Mutation::PutCommand(record) => {
            Some(Mutation::DeleteCommand(record.principal.clone(), record.namespace.clone(), record.key.clone()))
        }
        Mutation::PutLedger(entry) => Some(Mutation::DeleteLedger(entry.id)),
        Mutation::PutTrust(trust) => Some(Mutation::DeleteTrust(trust.id())),
        Mutation::DeleteNode(_)
        | Mutation::DeleteJob(_)
        | Mutation::DeleteJobVersion(..)
        | Mutation::DeleteAlloc(_)
        | Mutation::DeleteCommand(..)
        | Mutation::DeleteLedger(_)
        | Mutation::DeleteTrust(_) => unreachable!("only puts are made"),
    }
}

proptest! {
    #[test]
    fn what_is_put_is_read_back(put in strategies::put()) {
        let write = encode(&put, Format::FIRST);
        let value = write.value.unwrap();
        prop_assert_eq!(&decode(&write.key, &value).unwrap(), &put);
        prop_assert_eq!(encode(&put, Format::FIRST).value.unwrap(), value);
        prop_assert!(write.key.as_slice() >= key::FIRST && write.key.as_slice() < key::END);
    }

    #[test]
    fn a_delete_has_the_key_of_its_put(put in strategies::put()) {
        if let Some(delete) = delete_of(&put) {
            let write = encode(&delete, Format::FIRST);
            prop_assert_eq!(write.value, None);
            prop_assert_eq!(&write.key, &encode(&put, Format::FIRST).key);
            prop_assert_eq!(decode_removal(&write.key).unwrap(), delete);
        }
    }

    #[test]
    fn what_an_agent_remembers_is_read_back(value in strategies::remembered()) {
        prop_assert_eq!(decode_remembered("ledger", &encode_remembered(&value)).unwrap(), value);
    }

    #[test]
    fn an_epoch_is_read_back_and_has_one_text(a in strategies::epoch(), b in strategies::epoch()) {
        prop_assert_eq!(decode_epoch(&encode_epoch(a)).unwrap(), a);
        prop_assert_eq!(a == b, encode_epoch(a) == encode_epoch(b));
    }

    #[test]
    fn a_damaged_record_is_read_as_an_error_or_as_a_record_of_its_key(
        put in strategies::put(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let write = encode(&put, Format::FIRST);
        let mut value = write.value.unwrap();
        let at = at.index(value.len());
        value[at] = byte;
        if let Ok(read) = decode(&write.key, &value) {
            prop_assert_eq!(encode(&read, Format::FIRST).key, write.key);
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(key in prop::collection::vec(any::<u8>(), 0..30), value in prop::collection::vec(any::<u8>(), 0..60)) {
        let _ = decode(&key, &value);
        let _ = decode(b"meta", &value);
        let _ = decode_remembered("ledger", &value);
        let mut builder = SnapshotBuilder::new();
        builder.add(&key, &value);
        prop_assert!(builder.finish().is_err());
    }
}
