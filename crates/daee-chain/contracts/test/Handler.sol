// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {INodeRegistry} from "../src/interfaces/INodeRegistry.sol";
import {Market} from "./Market.sol";

/// @notice A market in random use: tenants that change their mind, nodes that fail, thieves. It keeps books of its own
/// from what it did, never from what the contracts say, for the invariants to hold the contracts against.
/// @dev Every call that should be refused is made and must be refused; every other one must go through. What was done
/// is counted, since an invariant over nothing holds.
contract Handler is Market {
    uint256 private constant LIVE_MAX = 7;

    /// What the handler knows of a deployment by itself.
    struct Book {
        bytes32 root; // last opened
        address node; // lessee, 0 if none
        bytes32 epoch;
        uint128 rate;
        uint64 startedAt;
        uint64 endTime;
        uint64 tail; // seconds that a final leaf would add
        uint256 earned; // wei: rate x time that anchors closed since the first leaf, all leases
        bool late; // some gap was longer than the interval, so less than all of it was credited
        bool spent; // the escrow ran dry, so less than all of it was paid
    }

    /// A lease that is over, for a node that will not have it.
    struct Past {
        uint256 id;
        address node;
        bytes32 epoch;
    }

    /// A leaf that was anchored and not opened yet.
    struct Waiting {
        IDaeeManager.Checkpoint leaf;
        bytes32[] proof;
        uint64 anchored;
    }

    address[3] public nodes;
    address[3] public owners;
    uint256[3] private keys;
    bool[3] private down;
    mapping(address node => uint64) private lastAnchor;
    mapping(uint256 id => Book) private books;
    bytes32[] public epochs;
    mapping(bytes32 epoch => address) public firstLessee;
    mapping(uint256 id => Waiting) private waiting;
    Past[] private pasts;
    mapping(string what => uint256) public did;
    uint256 public steps;
    uint256 private seed; // the fuzzer likes round numbers, and parts of this one decide different things
    bool public repeated; // an epoch was given out twice

    constructor() {
        setUp();
        string[3] memory names = ["alpha", "beta", "gamma"];
        for (uint256 i = 0; i < 3; i++) {
            (nodes[i], keys[i]) = makeAddrAndKey(names[i]);
            owners[i] = _ownerOf(names[i]);
        }
    }

    /// Time passes, every node that is up anchors its leases when it is due, and opens some of them, and somebody may
    /// assign what was won.
    modifier step(uint256 salt) {
        seed = uint256(keccak256(abi.encode(salt, ++steps)));
        _pass(seed % 31);
        for (uint256 i = 0; i < 3; i++) {
            if (!down[i] && _now() - lastAnchor[nodes[i]] >= 30) _beat(i, uint256(keccak256(abi.encode(seed, i))));
        }
        for (uint256 id = 1; id <= manager.deploymentCount(); id++) {
            IDaeeManager.Deployment memory d = manager.deployment(id);
            bool won = d.phase == IDaeeManager.Phase.Bidding && d.lease.node != address(0) && _now() >= d.bidsClose;
            if (won && (seed >> 240) % 2 == 0) _award(id);
        }
        _;
    }

    // ---- what people do ----------------------------------------------------------------------------

    function deploy(uint256 salt) external step(salt) {
        uint256 live;
        for (uint256 id = 1; id <= manager.deploymentCount(); id++) if (_phase(id) != IDaeeManager.Phase.Closed) live++;
        if (live >= LIVE_MAX) return;
        IDaeeManager.Terms memory t = _terms();
        t.cpuMilli = uint32((seed >> 8) % 1_500 + 1);
        t.memMiB = uint32((seed >> 40) % 2_048 + 1);
        t.gpu = uint16((seed >> 72) % 4 == 0 ? 1 : 0);
        t.interval = uint32(INTERVAL + (seed >> 80) % INTERVAL);
        uint128 payment = uint128(manager.minimumPayment(t) + (seed >> 96) % 20e18);
        _deploy(t, payment);
        did["deploy"]++;
    }

    /// Bids on two deployments, if they are open for them.
    function bid(uint256 salt) external step(salt) {
        uint256 id = _pick(IDaeeManager.Phase.Bidding);
        if (id == 0) return;
        bool over = _now() >= manager.deployment(id).bidsClose;
        if (over && manager.deployment(id).lease.node == address(0)) _award(id);
        for (uint256 i = 0; i < 4; i++) {
            if (_phase(id) == IDaeeManager.Phase.Bidding) _offer(id, nodes[(seed >> (8 * i)) % 3], uint256(keccak256(abi.encode(seed, i))));
            if (i == 1) id = id % manager.deploymentCount() + 1;
        }
    }

    function assign(uint256 salt) external step(salt) {
        uint256 id = _pick(IDaeeManager.Phase.Bidding);
        if (id == 0) return;
        if (seed & 1 == 0) _until(manager.deployment(id).bidsClose);
        if (_now() >= manager.deployment(id).bidsClose) return _award(id);
        vm.expectPartialRevert(IDaeeManager.BidsAreOpen.selector);
        manager.assign(id);
    }

    function settle(uint256 salt) external step(salt) {
        uint256 count = manager.deploymentCount();
        uint256[] memory ids = new uint256[](count);
        for (uint256 i = 0; i < count; i++) ids[i] = uint256(keccak256(abi.encode(seed, i))) % (count + 2);
        uint256 claims = _claims();
        manager.settle(ids);
        for (uint256 id = 1; id <= count; id++) _noteExit(id);
        if (_claims() > claims) did["settle"]++;
    }

    function stop(uint256 salt) external step(salt) {
        if (seed % 6 != 0) return;
        uint256 id = _pick((seed >> 8) % 4 == 0 ? IDaeeManager.Phase.Bidding : IDaeeManager.Phase.Leased);
        if (id == 0) return;
        _stop(id);
        _noteExit(id);
        did["stop"]++;
    }

    function finish(uint256 salt) external step(salt) {
        uint256 id = _pick(IDaeeManager.Phase.Closing);
        if (id == 0) return;
        IDaeeManager.Lease memory l = manager.deployment(id).lease;
        if (seed & 1 == 0) _pass(OPEN_WINDOW + 1);
        bool ready = books[id].startedAt == 0 || l.finalOpen || _now() > books[id].endTime + OPEN_WINDOW;
        try manager.finish(id) {
            assertTrue(ready, "finished too early");
            _over(id);
            did["finish"]++;
        } catch {
            assertFalse(ready, "finish was refused");
        }
    }

    function topUp(uint256 salt) external step(salt) {
        uint256 id = _pick(IDaeeManager.Phase.Leased);
        if (id == 0) return;
        vm.prank(owners[seed % 3]);
        manager.topUp(id, uint128((seed >> 8) % 5e18));
        did["topUp"]++;
    }

    function withdraw(uint256 salt) external step(salt) {
        address who = seed & 1 == 0 ? tenant : owners[seed % 3];
        uint256 claim = manager.claimable(who);
        if (claim == 0) return;
        uint256 before = token.balanceOf(who);
        vm.prank(who);
        manager.withdraw(who);
        assertEq(token.balanceOf(who), before + claim);
        did["withdraw"]++;
    }

    function update(uint256 salt) external step(salt) {
        uint256 id = _pick((seed >> 8) % 5 == 0 ? IDaeeManager.Phase.Bidding : IDaeeManager.Phase.Leased);
        if (id == 0) return;
        IDaeeManager.Deployment memory d = manager.deployment(id);
        bool leased = d.phase == IDaeeManager.Phase.Leased;
        uint256 needed = FEE + (leased ? uint256(d.lease.rate) * RUNWAY + manager.due(id) : 0);
        if (d.balance < needed) {
            vm.expectPartialRevert(IDaeeManager.PaymentBelowMinimum.selector);
            _update(id);
            return;
        }
        _update(id);
        did[leased ? "update" : "update while bidding"]++;
    }

    function refuse(uint256 salt) external step(salt) {
        uint256 id = _pick(IDaeeManager.Phase.Leased);
        if (id == 0) return;
        if (manager.deployment(id).pending.number == 0 && seed & 2 == 0 && manager.deployment(id).balance > manager.due(id) + FEE + RATE_MAX * RUNWAY) {
            _update(id);
            did["update"]++;
        }
        IDaeeManager.Deployment memory d = manager.deployment(id);
        bool byOwner = seed & 1 == 0;
        bool may = d.pending.number != 0 && (!byOwner || _now() > d.pendingUntil);
        vm.prank(byOwner ? tenant : d.lease.node);
        try manager.refuseUpdate(id) {
            assertTrue(may, "refused what it may not");
            _noteExit(id);
            did["refuse"]++;
        } catch {
            assertFalse(may, "a refusal was refused");
        }
    }

    // ---- what goes wrong ---------------------------------------------------------------------------

    function breakDown(uint256 salt) external step(salt) {
        if (seed % 6 == 0) down[(seed >> 8) % 3] = true;
    }

    function recover(uint256 salt) external step(salt) {
        down[seed % 3] = false;
    }

    function expire(uint256 salt) external step(salt) {
        uint256 id = _pick(IDaeeManager.Phase.Leased);
        if (id == 0) return;
        if (seed % 5 == 0) _pass(2 * INTERVAL + GRACE + 1);
        Book storage book = books[id];
        IDaeeManager.Deployment memory d = manager.deployment(id);
        uint64 since = lastAnchor[book.node] > book.startedAt ? lastAnchor[book.node] : book.startedAt;
        bool silent = book.startedAt == 0 ? _now() > d.lease.assignedAt + START_WINDOW : _now() > since + d.terms.interval + GRACE;
        try manager.expire(id) {
            assertTrue(silent, "expired too early");
            _over(id);
            did[d.lease.startedAt == 0 ? "failed start" : "expire"]++;
        } catch {
            assertFalse(silent, "a silent lease did not expire");
        }
    }

    /// A node signs two stories for one place, of a lease that it has or had.
    function equivocate(uint256 salt) external step(salt) {
        if (epochs.length == 0 || seed % 8 != 0) return;
        uint256 id = _pick((seed >> 8) & 1 == 0 ? IDaeeManager.Phase.Leased : IDaeeManager.Phase.Closing);
        Past memory lease;
        if (id != 0) lease = Past(id, books[id].node, books[id].epoch);
        else if (pasts.length > 0) lease = pasts[(seed >> 16) % pasts.length];
        if (lease.id == 0 || manager.equivocated(lease.epoch)) return;
        IDaeeManager.Checkpoint memory a;
        (a.deployment, a.epoch, a.seq) = (lease.id, lease.epoch, 1);
        IDaeeManager.Checkpoint memory b = a;
        b = abi.decode(abi.encode(a), (IDaeeManager.Checkpoint));
        b.stateRoot = "another";
        bytes32 commitment = keccak256(abi.encode(stranger, manager.leafHash(a), manager.leafHash(b), bytes32(seed)));
        vm.prank(stranger);
        manager.commitEvidence(commitment);
        vm.roll(vm.getBlockNumber() + 1);
        (bytes memory signatureA, bytes memory signatureB) = (_signed(lease.node, a), _signed(lease.node, b));
        vm.prank(stranger);
        manager.reportEquivocation(a, signatureA, b, signatureB, bytes32(seed));
        if (books[lease.id].epoch == lease.epoch) _over(lease.id);
        did["equivocate"]++;
    }

    /// Somebody opens a leaf some time after it was anchored, if it can still be.
    function openLate(uint256 salt) external step(salt) {
        for (uint256 id = 1; id <= manager.deploymentCount(); id++) {
            Waiting memory w = waiting[id];
            if (w.anchored == 0 || w.anchored == _now()) continue;
            uint32 number = manager.deployment(id).version.number;
            try manager.open(id, w.leaf, w.proof) {
                _noteOpen(id, w, number);
                did["open late"]++;
            } catch {}
            delete waiting[id];
        }
    }

    /// A node shows a leaf of a lease that it lost, well anchored and following the last root.
    function openLost(uint256 salt) external step(salt) {
        if (pasts.length == 0) return;
        Past memory past = pasts[seed % pasts.length];
        IDaeeManager.Checkpoint memory leaf = _next(past.id);
        (leaf.epoch, leaf.seq) = (past.epoch, 1_000);
        _refused(past.node, leaf);
    }

    /// A node shows a leaf of a lease that another one has.
    function openForeign(uint256 salt) external step(salt) {
        uint256 id = _pick(IDaeeManager.Phase.Leased);
        if (id == 0) return;
        address node = nodes[(seed >> 8) % 3];
        if (node == books[id].node) return;
        _refused(node, _next(id));
    }

    // ---- stake -------------------------------------------------------------------------------------

    function unstake(uint256 salt) external step(salt) {
        if ((seed >> 160) % 4 != 0) return;
        uint256 i = seed % 3;
        registry.releaseTails(nodes[i]);
        INodeRegistry.Node memory n = _node(nodes[i]);
        uint128 free = n.stake - n.locked;
        if (free == 0) return;
        vm.expectPartialRevert(INodeRegistry.StakeLocked.selector);
        vm.prank(owners[i]);
        registry.unstake(nodes[i], free + 1);
        vm.prank(owners[i]);
        registry.unstake(nodes[i], uint128((seed >> 8) % (free / 8 + 1)));
        did["unstake"]++;
    }

    function withdrawStake(uint256 salt) external step(salt) {
        uint256 i = seed % 3;
        // What was slashed and left comes back, or the market would run dry.
        if (_node(nodes[i]).stake < STAKE) {
            vm.prank(owners[i]);
            registry.stake(nodes[i], STAKE / 4);
        }
        if (_node(nodes[i]).unbonding == 0) return;
        // Days pass in which nobody anchors: tails end, and so may leases.
        if (seed % 16 == 0) _until(_node(nodes[i]).unbondAt);
        if (_now() < _node(nodes[i]).unbondAt) return;
        vm.prank(owners[i]);
        registry.withdrawStake(nodes[i]);
        did["withdrawStake"]++;
    }

    // ---- for the invariants ------------------------------------------------------------------------

    function parts() external view returns (address, address, address, address, address) {
        return (address(token), address(registry), address(manager), tenant, stranger);
    }

    function bookOf(uint256 id) external view returns (Book memory) {
        return books[id];
    }

    function epochCount() external view returns (uint256) {
        return epochs.length;
    }

    // ---- helpers -----------------------------------------------------------------------------------

    function _offer(uint256 id, address node, uint256 luck) private {
        IDaeeManager.Deployment memory d = manager.deployment(id);
        uint256 most = d.lease.node == address(0) ? RATE_MAX : uint256(d.lease.rate) * 99 / 100;
        // Most of what is bid is low enough, some is not.
        uint128 rate = uint128(luck % (most + most / 10 + 1));
        bool open = _now() < d.bidsClose && d.balance >= uint256(rate) * RUNWAY;
        bool good = open && rate > 0 && rate <= most && _fits(node, d);
        vm.prank(node);
        try manager.bid(id, rate, d.version.manifestHash) {
            assertTrue(good, "a bad bid was taken");
            did[d.lease.node == address(0) ? "bid" : "outbid"]++;
        } catch {
            assertFalse(good, "a good bid was refused");
            did["bid refused"]++;
        }
    }

    function _award(uint256 id) private {
        IDaeeManager.Lease memory best = manager.deployment(id).lease;
        manager.assign(id);
        if (best.node == address(0)) {
            did["relist"]++;
            return;
        }
        bytes32 epoch = manager.deployment(id).lease.epoch;
        if (firstLessee[epoch] != address(0)) repeated = true;
        firstLessee[epoch] = best.node;
        epochs.push(epoch);
        Book storage book = books[id];
        (book.node, book.epoch, book.rate) = (best.node, epoch, best.rate);
        did["assign"]++;
    }

    /// The node anchors one tree over its leases and opens about half of the leaves.
    function _beat(uint256 i, uint256 luck) private {
        uint256 count = manager.deploymentCount();
        uint256[] memory ids = new uint256[](count);
        uint256 mine;
        for (uint256 id = 1; id <= count; id++) if (books[id].node == nodes[i]) ids[mine++] = id;
        if (mine == 0) {
            _noteAnchor(nodes[i], keccak256(abi.encode("empty", _now(), i, luck)));
            return;
        }
        assembly ("memory-safe") {
            mstore(ids, mine)
        }
        bytes32[] memory hashes = new bytes32[](mine);
        IDaeeManager.Checkpoint[] memory leaves = new IDaeeManager.Checkpoint[](mine);
        for (uint256 k = 0; k < mine; k++) {
            leaves[k] = _next(ids[k]);
            IDaeeManager.Deployment memory d = manager.deployment(ids[k]);
            bool accepts = (luck >> k) & 1 == 0 && d.pending.number != 0 && _now() <= d.pendingUntil && d.lease.exit != 2;
            if (accepts) leaves[k].artifactHash = d.pending.artifactHash;
            hashes[k] = manager.leafHash(leaves[k]);
        }
        _noteAnchor(nodes[i], _rootOf(ids, hashes));
        for (uint256 k = 0; k < mine; k++) {
            Book storage book = books[ids[k]];
            bool late = book.endTime != 0 && _now() > book.endTime + OPEN_WINDOW;
            waiting[ids[k]] = Waiting(leaves[k], _proofOf(ids, hashes, k), _now());
            if ((luck >> (128 + k)) & 1 == 0 && !late) _open(ids[k]);
        }
    }

    function _open(uint256 id) private {
        Waiting memory w = waiting[id];
        uint32 number = manager.deployment(id).version.number;
        manager.open(id, w.leaf, w.proof);
        _noteOpen(id, w, number);
        delete waiting[id];
    }

    function _noteOpen(uint256 id, Waiting memory w, uint32 number) private {
        Book storage book = books[id];
        assertEq(w.leaf.epoch, book.epoch, "a leaf of another epoch");
        assertEq(w.leaf.preRoot, book.root, "a leaf that does not follow");
        book.root = w.leaf.stateRoot;
        if (manager.deployment(id).version.number > number) did["accept"]++;
        if (book.endTime != 0 && w.anchored >= book.endTime) {
            book.earned += uint256(book.tail) * book.rate;
            book.tail = 0;
            did["final leaf"]++;
        } else if (book.endTime == 0 && book.startedAt == 0) {
            book.startedAt = _now();
            if (_now() - lastAnchor[book.node] > INTERVAL) book.late = true;
            did["start"]++;
        }
        did["open"]++;
    }

    /// What an anchor earns: the time since the one before, or since the first leaf, at most the interval.
    function _noteAnchor(address node, bytes32 root) private {
        uint64 last = lastAnchor[node];
        vm.prank(node);
        manager.anchor(root);
        lastAnchor[node] = _now();
        did["anchor"]++;
        for (uint256 id = 1; id <= manager.deploymentCount(); id++) {
            Book storage book = books[id];
            if (book.node != node || book.startedAt == 0 || book.endTime != 0) continue;
            if (_now() - last > INTERVAL) book.late = true;
            book.earned += uint256(_atMost(_now() - _later(last, book.startedAt))) * book.rate;
        }
    }

    function _noteExit(uint256 id) private {
        Book storage book = books[id];
        if (_phase(id) != IDaeeManager.Phase.Closing || book.endTime != 0) return;
        book.endTime = _now();
        uint8 reason = manager.deployment(id).lease.exit;
        if (reason == 3) {
            book.spent = true;
            did["exhaust"]++;
        }
        if (book.startedAt == 0) return;
        if (_now() - lastAnchor[book.node] > INTERVAL) book.late = true;
        book.tail = _atMost(_now() - _later(lastAnchor[book.node], book.startedAt));
    }

    function _over(uint256 id) private {
        Book storage book = books[id];
        pasts.push(Past(id, book.node, book.epoch));
        if (manager.deployment(id).balance == 0) book.spent = true;
        (book.node, book.epoch, book.rate) = (address(0), 0, 0);
        (book.startedAt, book.endTime, book.tail) = (0, 0, 0);
    }

    function _refused(address node, IDaeeManager.Checkpoint memory leaf) private {
        (uint256[] memory ids, bytes32[] memory hashes) = (_list(leaf.deployment), new bytes32[](1));
        leaf.stateRoot = keccak256(abi.encode("stolen", _now(), node, did["theft refused"]));
        hashes[0] = manager.leafHash(leaf);
        _noteAnchor(node, _rootOf(ids, hashes));
        try manager.open(leaf.deployment, leaf, _proofOf(ids, hashes, 0)) {
            revert("a leaf of another lease was opened");
        } catch {
            did["theft refused"]++;
        }
    }

    function _fits(address node, IDaeeManager.Deployment memory d) private view returns (bool) {
        INodeRegistry.Node memory n = _node(node);
        if (d.lease.node == node) {
            n.locked -= d.lease.bond;
            n.cpuUsed -= d.terms.cpuMilli;
            n.memUsed -= d.terms.memMiB;
            n.gpuUsed -= d.terms.gpu;
        }
        uint256 free = n.stake - n.locked;
        if (free < BOND) {
            INodeRegistry.Tail[] memory tails = registry.tails(node);
            for (uint256 i = 0; i < tails.length && i < 32; i++) if (tails[i].until <= _now()) free += tails[i].amount;
        }
        bool room = n.cpuMilli - n.cpuUsed >= d.terms.cpuMilli && n.memMiB - n.memUsed >= d.terms.memMiB && n.gpu - n.gpuUsed >= d.terms.gpu;
        return room && n.stake >= STAKE_MIN && free >= BOND;
    }

    function _pick(IDaeeManager.Phase phase) private view returns (uint256) {
        uint256 count = manager.deploymentCount();
        for (uint256 i = 0; i < count; i++) {
            uint256 id = ((seed >> 200) % count + i) % count + 1;
            if (_phase(id) == phase) return id;
        }
        return 0;
    }

    function _claims() private view returns (uint256 sum) {
        for (uint256 i = 0; i < 3; i++) sum += manager.claimable(owners[i]);
    }

    function _signed(address node, IDaeeManager.Checkpoint memory leaf) private view returns (bytes memory) {
        uint256 key = node == nodes[0] ? keys[0] : node == nodes[1] ? keys[1] : keys[2];
        return _sign(key, keccak256(abi.encodePacked(hex"1901", manager.domainSeparator(), manager.leafHash(leaf))));
    }

    function _atMost(uint64 time) private pure returns (uint64) {
        return time < INTERVAL ? time : INTERVAL;
    }

    function _later(uint64 a, uint64 b) private pure returns (uint64) {
        return a > b ? a : b;
    }
}
