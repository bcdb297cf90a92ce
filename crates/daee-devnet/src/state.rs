use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    sync::Arc,
};

use alloy_consensus::{
    TrieAccount,
    constants::{EMPTY_ROOT_HASH, KECCAK_EMPTY},
    proofs::{state_root, storage_root},
};
use revm::{
    DatabaseRef,
    primitives::{Address, B256, U256, keccak256},
    state::{AccountInfo, Bytecode, EvmState},
};

use crate::block::Block;

/// Every account at one block, under the hashes that the state root is made of. A clone shares what
/// neither of the two changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    accounts: BTreeMap<B256, Arc<Account>>,
    code: HashMap<B256, Bytecode>,
}

#[derive(Clone, Debug)]
struct Account {
    head: Head,
    storage: BTreeMap<B256, U256>,
}

#[derive(Clone, Copy, Debug)]
struct Head {
    balance: U256,
    nonce: u64,
    code_hash: B256,
    /// `None` after a write, until the root is asked for.
    storage_root: Option<B256>,
}

/// What a block changed, as it was before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Undo(Vec<Before>);

#[derive(Clone, Debug)]
struct Before {
    account: B256,
    /// `None` if there was no such account.
    head: Option<Head>,
    /// A slot that was not there is zero.
    slots: Vec<(B256, U256)>,
}

impl Undo {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl State {
    pub(crate) fn balance(&self, address: Address) -> U256 {
        self.head(address).map_or(U256::ZERO, |head| head.balance)
    }

    pub(crate) fn nonce(&self, address: Address) -> u64 {
        self.head(address).map_or(0, |head| head.nonce)
    }

    pub(crate) fn code(&self, address: Address) -> Bytecode {
        let hash = self.head(address).map(|head| head.code_hash);
        hash.and_then(|hash| self.code.get(&hash).cloned()).unwrap_or_default()
    }

    pub(crate) fn slot(&self, address: Address, slot: U256) -> U256 {
        let account = self.accounts.get(&keccak256(address));
        let value = account.and_then(|account| account.storage.get(&slot_key(slot)));
        value.copied().unwrap_or_default()
    }

    pub(crate) fn set_balance(&mut self, address: Address, balance: U256, undo: &mut Undo) {
        let key = keccak256(address);
        let before = self.accounts.get(&key).map(|account| account.head);
        undo.0.push(Before { account: key, head: before, slots: Vec::new() });
        let empty = Head {
            balance,
            nonce: 0,
            code_hash: KECCAK_EMPTY,
            storage_root: Some(EMPTY_ROOT_HASH),
        };
        let head = Head { balance, ..before.unwrap_or(empty) };
        if balance.is_zero() && head.nonce == 0 && head.code_hash == KECCAK_EMPTY {
            self.accounts.remove(&key);
        } else {
            self.put(key, head);
        }
    }

    /// Takes what a transaction changed.
    pub(crate) fn apply(&mut self, changes: EvmState, undo: &mut Undo) {
        for (address, account) in changes {
            if !account.is_touched() {
                continue;
            }
            let key = keccak256(address);
            let old = self.accounts.get(&key);
            let old_head = old.map(|old| old.head);
            let mut before = Before { account: key, head: old_head, slots: Vec::new() };
            // A created account starts without storage, and one that destroyed itself ends so.
            let ends = account.is_selfdestructed() || account.info.is_empty();
            let anew = ends || account.is_created();
            if anew {
                let slots = old.into_iter().flat_map(|old| &old.storage);
                before.slots.extend(slots.map(|(slot, value)| (*slot, *value)));
            }
            let slots: Vec<_> = account
                .changed_storage_slots()
                .map(|(slot, value)| (slot_key(*slot), value.present_value()))
                .collect();
            for (slot, _) in &slots {
                let value = old.and_then(|old| old.storage.get(slot)).copied();
                before.slots.push((*slot, value.unwrap_or_default()));
            }
            undo.0.push(before);
            if anew {
                self.accounts.remove(&key);
            }
            if ends {
                continue;
            }
            self.learn(&account.info);
            let storage_root = match old_head {
                _ if !slots.is_empty() => None,
                Some(old) if !anew => old.storage_root,
                _ => Some(EMPTY_ROOT_HASH),
            };
            let AccountInfo { balance, nonce, code_hash, .. } = account.info;
            self.put(key, Head { balance, nonce, code_hash, storage_root });
            self.put_slots(&key, &slots);
        }
    }

    /// Goes back to what was before.
    pub(crate) fn undo(&mut self, undo: &Undo) {
        for before in undo.0.iter().rev() {
            let Some(head) = before.head else {
                self.accounts.remove(&before.account);
                continue;
            };
            self.put(before.account, head);
            self.put_slots(&before.account, &before.slots);
        }
    }

    pub(crate) fn root(&mut self) -> B256 {
        for account in self.accounts.values_mut() {
            if account.head.storage_root.is_none() {
                let slots = account.storage.iter().map(|(slot, value)| (*slot, *value));
                let root = storage_root(slots);
                Arc::make_mut(account).head.storage_root = Some(root);
            }
        }
        state_root(self.accounts.iter().map(|(key, account)| {
            let head = account.head;
            let storage_root = head.storage_root.unwrap_or(EMPTY_ROOT_HASH);
            (*key, TrieAccount::new(head.nonce, head.balance, storage_root, head.code_hash))
        }))
    }

    fn head(&self, address: Address) -> Option<&Head> {
        self.accounts.get(&keccak256(address)).map(|account| &account.head)
    }

    fn put(&mut self, key: B256, head: Head) {
        match self.accounts.get_mut(&key) {
            Some(account) => Arc::make_mut(account).head = head,
            None => {
                let account = Account { head, storage: BTreeMap::new() };
                self.accounts.insert(key, Arc::new(account));
            }
        }
    }

    fn put_slots(&mut self, key: &B256, slots: &[(B256, U256)]) {
        if slots.is_empty() {
            return;
        }
        let Some(account) = self.accounts.get_mut(key) else { return };
        let storage = &mut Arc::make_mut(account).storage;
        for (slot, value) in slots {
            if value.is_zero() {
                storage.remove(slot);
            } else {
                storage.insert(*slot, *value);
            }
        }
    }

    // Code stays when its account goes: it is found by its hash alone, and may come back.
    fn learn(&mut self, info: &AccountInfo) {
        if let Some(code) = &info.code
            && !code.is_empty()
        {
            self.code.entry(info.code_hash).or_insert_with(|| code.clone());
        }
    }
}

/// What the EVM reads: a state and the blocks below it.
pub(crate) struct View<'a> {
    pub(crate) state: &'a State,
    pub(crate) blocks: &'a [Arc<Block>],
}

impl DatabaseRef for View<'_> {
    type Error = Infallible;

    fn basic_ref(&self, address: Address) -> Result<Option<AccountInfo>, Infallible> {
        Ok(self.state.head(address).map(|head| AccountInfo {
            balance: head.balance,
            nonce: head.nonce,
            code_hash: head.code_hash,
            account_id: None,
            code: None,
        }))
    }

    fn code_by_hash_ref(&self, hash: B256) -> Result<Bytecode, Infallible> {
        Ok(self.state.code.get(&hash).cloned().unwrap_or_default())
    }

    fn storage_ref(&self, address: Address, slot: U256) -> Result<U256, Infallible> {
        Ok(self.state.slot(address, slot))
    }

    fn block_hash_ref(&self, number: u64) -> Result<B256, Infallible> {
        let block = usize::try_from(number).ok().and_then(|number| self.blocks.get(number));
        Ok(block.map_or(B256::ZERO, |block| block.hash))
    }
}

fn slot_key(slot: U256) -> B256 {
    keccak256(B256::from(slot))
}

#[cfg(test)]
mod tests {
    use alloy_consensus::proofs::{state_root_unhashed, storage_root_unhashed};
    use revm::state::{Account as Touched, EvmStorageSlot, TransactionId};

    use super::*;

    const CONTRACT: Address = Address::repeat_byte(1);
    const PAYEE: Address = Address::repeat_byte(2);

    fn touched(nonce: u64, slots: &[(u64, u64, u64)]) -> Touched {
        let id = TransactionId::new(0).unwrap();
        let storage = slots.iter().map(|(slot, old, new)| {
            let value = EvmStorageSlot::new_changed(U256::from(*old), U256::from(*new), id);
            (U256::from(*slot), value)
        });
        Touched::default()
            .with_info(AccountInfo { nonce, balance: U256::from(9), ..AccountInfo::default() })
            .with_storage(storage)
            .with_touched_mark()
    }

    fn apply(state: &mut State, accounts: impl IntoIterator<Item = (Address, Touched)>) -> Undo {
        let mut undo = Undo::default();
        state.apply(accounts.into_iter().collect(), &mut undo);
        undo
    }

    #[test]
    fn the_root_is_that_of_the_whole_trie_however_it_came_about() {
        let mut state = State::default();
        assert_eq!(state.root(), EMPTY_ROOT_HASH);
        apply(&mut state, [(CONTRACT, touched(1, &[(1, 0, 5), (2, 0, 6)]))]);
        state.root();
        apply(
            &mut state,
            [(CONTRACT, touched(2, &[(1, 5, 0), (3, 0, 7)])), (PAYEE, touched(3, &[]))],
        );
        let storage =
            [(2u64, 6), (3, 7)].map(|(slot, value)| (U256::from(slot).into(), U256::from(value)));
        let account = |nonce, root| TrieAccount::new(nonce, U256::from(9), root, KECCAK_EMPTY);
        let whole = state_root_unhashed([
            (CONTRACT, account(2, storage_root_unhashed(storage))),
            (PAYEE, account(3, EMPTY_ROOT_HASH)),
        ]);
        assert_eq!(state.root(), whole);
    }

    #[test]
    fn undoing_leads_back_over_everything_that_can_happen_to_an_account() {
        let mut state = State::default();
        apply(&mut state, [(CONTRACT, touched(1, &[(1, 0, 5), (2, 0, 6)]))]);
        let root = state.root();
        let cases = [
            touched(2, &[(1, 5, 0), (3, 0, 7)]),
            touched(2, &[]),
            touched(1, &[(2, 0, 8)]).with_created_mark(),
            touched(1, &[]).with_selfdestruct_mark(),
        ];
        for case in cases {
            let undo =
                apply(&mut state, [(CONTRACT, case.clone()), (PAYEE, touched(1, &[(1, 0, 1)]))]);
            let after = state.root();
            assert_ne!(after, root);
            state.undo(&undo);
            assert_eq!(state.root(), root, "{case:?}");
            assert_eq!(state.slot(CONTRACT, U256::from(2)), U256::from(6));
            assert_eq!(state.nonce(PAYEE), 0);
        }
    }

    #[test]
    fn an_account_without_anything_is_not_there() {
        let mut state = State::default();
        let mut undo = Undo::default();
        state.set_balance(PAYEE, U256::from(1), &mut undo);
        state.set_balance(PAYEE, U256::ZERO, &mut undo);
        assert_eq!(state.root(), EMPTY_ROOT_HASH);
        apply(&mut state, [(PAYEE, Touched::default().with_touched_mark())]);
        assert_eq!(state.root(), EMPTY_ROOT_HASH);
        state.undo(&undo);
        assert_eq!(state.root(), EMPTY_ROOT_HASH);
    }
}
