// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {SafeERC20, IERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {IDaeeManager} from "./interfaces/IDaeeManager.sol";
import {INodeRegistry} from "./interfaces/INodeRegistry.sol";
import {AnchorTree} from "./lib/AnchorTree.sol";
import {CidLib} from "./lib/CidLib.sol";

/// @title Deployments, leases and their pay
/// @notice Invariant: the contract holds the sum of all escrows and all claims, to the wei, and no lease was ever paid
/// more than its rate times the seconds that its node's anchors credited since its first opened leaf.
/// @dev Immutable (MARKET rule 18). Only `deploy` and `bid` can be paused; every way out stays open. The token is
/// trusted to be plain: no hooks, no fee on transfer (a payment that arrives short is refused all the same); state is
/// written before any call to it.
///
/// What is not kept here yet, so that nobody relies on it. A node that anchors is credited for all its started
/// leases, whether or not each was in the tree: proof that one was left out, and `demandLeaf` (rule 3), have their own
/// version; until then a tenant who sees no leaf ends the lease with `stop`. Nobody is drawn to hold state (rule 4), a
/// cancelled bid earns no fee and failed starters are not barred (rule 11), and no sequencer outage extends a
/// deadline (rule 18): that needs a feed that not every chain has.
contract DaeeManager is IDaeeManager, Pausable {
    using SafeERC20 for IERC20;

    uint256 public constant ARTIFACT_MAX = 1 << 20; // one raw block; larger files have their own rule
    uint256 public constant ROOTS_KEPT = 64; // the last roots of a node that leaves can be opened under
    bytes32 private constant CHECKPOINT = keccak256(
        "Checkpoint(uint256 deployment,bytes32 epoch,uint64 seq,bytes32 prevLeafHash,uint64 turn,bytes32 preRoot,bytes32 stateRoot,bytes32 logRoot,bytes32 transcriptRoot,bytes32 artifactHash,uint32 runtimeVersion,uint64 fuel,uint64 coveredSeconds)"
    );
    bytes32 private constant MANIFEST_TAG = "daee.manifest.v1";
    uint8 private constant STOPPED = 1;
    uint8 private constant REFUSED = 2;
    uint8 private constant EXHAUSTED = 3;

    /// A root in one slot. 192 bits of it are enough: to open what was not anchored takes a second preimage.
    struct Anchor {
        bytes24 root;
        uint64 time;
    }

    /// Whose an epoch was: evidence counts against this pair alone (MARKET rule 7).
    struct Tenure {
        address node;
        uint96 deployment;
    }

    /// What development and production differ in.
    struct Params {
        address pauser;
        uint128 minBond; // wei
        uint128 feePerByte; // wei burned for each byte of an artifact (MARKET rule 10)
        uint32 minRunway; // seconds that the escrow must last: at the highest rate to deploy, at its own to bid and to update
        uint32 bidWindowMin; // seconds
        uint32 intervalMin; // seconds
    }

    ERC20Burnable public immutable token;
    INodeRegistry public immutable registry;
    address public immutable pauser;
    uint128 public immutable minBond;
    uint128 public immutable feePerByte;
    uint32 public immutable minRunway;
    uint32 public immutable bidWindowMin;
    uint32 public immutable intervalMin;

    uint256 public deploymentCount;
    mapping(address account => uint256) public claimable;
    mapping(bytes32 epoch => bool) public equivocated;
    mapping(bytes32 commitment => uint256) public evidenceBlock;

    mapping(uint256 id => Deployment) internal _deployments;
    mapping(address node => Coverage) internal _coverage;
    mapping(address node => Anchor[ROOTS_KEPT]) private _anchors;
    mapping(bytes32 epoch => Tenure) private _tenures;

    constructor(ERC20Burnable token_, INodeRegistry registry_, Params memory p) {
        (token, registry) = (token_, registry_);
        (pauser, minBond, feePerByte, minRunway) = (p.pauser, p.minBond, p.feePerByte, p.minRunway);
        (bidWindowMin, intervalMin) = (p.bidWindowMin, p.intervalMin);
    }

    // ---- tenants -----------------------------------------------------------------------------------

    /// @inheritdoc IDaeeManager
    /// @dev TIP-0042 3.2 steps 1 and 2. The fee burned by size is MARKET rule 10; the size is the tenant's word, which
    /// nodes hold against the bytes before they bid.
    function deploy(string calldata agentId, bytes calldata artifactCid, bytes32 artifactHash, bytes32 bodyHash, Terms calldata terms, uint128 payment)
        external
        whenNotPaused
        returns (uint256 id)
    {
        CidLib.requireRawOf(artifactCid, artifactHash);
        _checkTerms(agentId, terms);
        uint256 minimum = minimumPayment(terms);
        require(payment >= minimum, PaymentBelowMinimum(payment, minimum));

        id = ++deploymentCount;
        Deployment storage d = _deployments[id];
        uint256 fee = terms.artifactBytes * uint256(feePerByte);
        d.owner = msg.sender;
        d.agentId = agentId;
        d.terms = terms;
        d.balance = payment - uint128(fee);
        d.version = Version(artifactHash, bodyHash, _manifestHash(artifactHash, bodyHash), 1);
        _openBids(d);
        emit Deployed(id, msg.sender, agentId, artifactCid, artifactHash, bodyHash, d.version.manifestHash, payment);
        _pull(payment);
        _burn(fee);
    }

    /// @inheritdoc IDaeeManager
    /// @dev While a lease runs the new version stays pending, and the old one is paid, until a leaf of the new
    /// one is opened (MARKET rule 10). The fee comes out of what the lessee has not earned: it is paid first, and a
    /// runway must stay, or a tenant could burn the escrow from under a running lease.
    function update(uint256 id, bytes calldata artifactCid, bytes32 artifactHash, bytes32 bodyHash, uint32 artifactBytes) external {
        Deployment storage d = _owned(id);
        require(d.phase == Phase.Bidding || d.phase == Phase.Leased, WrongPhase(d.phase));
        CidLib.requireRawOf(artifactCid, artifactHash);
        require(artifactBytes > 0 && artifactBytes <= ARTIFACT_MAX, ArtifactTooLarge(artifactBytes, ARTIFACT_MAX));
        uint256 fee = artifactBytes * uint256(feePerByte);
        uint256 minimum = fee;
        if (d.phase == Phase.Leased) {
            _pay(id, d);
            minimum += uint256(d.lease.rate) * minRunway;
        }
        require(d.balance >= minimum, PaymentBelowMinimum(d.balance, minimum));

        uint32 number = (d.pending.number > d.version.number ? d.pending.number : d.version.number) + 1;
        Version memory next = Version(artifactHash, bodyHash, _manifestHash(artifactHash, bodyHash), number);
        d.balance -= uint128(fee);
        if (d.phase == Phase.Bidding) {
            // Whoever bid had verified other bytes.
            _dropBid(d);
            d.version = next;
            _openBids(d);
        } else {
            d.pending = next;
            d.pendingUntil = uint64(block.timestamp) + d.terms.startWindow;
        }
        emit UpdateProposed(id, number, artifactCid, artifactHash, bodyHash);
        if (d.phase == Phase.Bidding) {
            emit Updated(id, number, artifactHash);
            emit Relisted(id, d.bidsClose, d.stateRoot);
        }
        _burn(fee);
    }

    /// @inheritdoc IDaeeManager
    function stop(uint256 id) external {
        Deployment storage d = _owned(id);
        if (d.phase == Phase.Bidding) {
            _dropBid(d);
            _close(id, d);
        } else {
            require(d.phase == Phase.Leased, WrongPhase(d.phase));
            _exit(id, d, STOPPED);
        }
    }

    /// @inheritdoc IDaeeManager
    function topUp(uint256 id, uint128 amount) external {
        Deployment storage d = _known(id);
        require(d.phase == Phase.Bidding || d.phase == Phase.Leased, WrongPhase(d.phase));
        d.balance += amount;
        emit ToppedUp(id, msg.sender, amount);
        _pull(amount);
    }

    /// @inheritdoc IDaeeManager
    function withdraw(address to) external returns (uint256 amount) {
        amount = claimable[msg.sender];
        require(amount > 0, NothingToDo());
        claimable[msg.sender] = 0;
        emit Withdrawn(msg.sender, to, amount);
        IERC20(token).safeTransfer(to, amount);
    }

    // ---- auction -----------------------------------------------------------------------------------

    /// @inheritdoc IDaeeManager
    /// @dev Only the best bid is kept, so the cost does not grow with bidders; only it locks bond and capacity. A bid
    /// names the version whose bytes the bidder has verified (MARKET rule 10): an update that got in before it would
    /// else bind the node to bytes it never saw. The escrow must last a runway, so that `assign` finds it funded.
    function bid(uint256 id, uint128 rate, bytes32 manifestHash) external whenNotPaused {
        Deployment storage d = _in(id, Phase.Bidding);
        Terms storage t = d.terms;
        require(block.timestamp < d.bidsClose, BidsAreClosed(d.bidsClose));
        require(manifestHash == d.version.manifestHash, WrongManifest(manifestHash, d.version.manifestHash));
        require(rate > 0 && rate <= t.rateMax, RateAboveMaximum(rate, t.rateMax));
        uint256 runway = uint256(rate) * minRunway;
        require(d.balance >= runway, PaymentBelowMinimum(d.balance, runway));
        if (d.lease.node != address(0)) {
            uint256 most = uint256(d.lease.rate) * 99 / 100;
            require(rate <= most, NotBetter(rate, most));
            _dropBid(d);
        }
        uint128 bond = _bond(t);
        uint32 anchorInterval = registry.reserve(msg.sender, bond, t.cpuMilli, t.memMiB, t.gpu);
        require(anchorInterval <= t.interval, IntervalTooLong(anchorInterval, t.interval));
        (d.lease.node, d.lease.rate, d.lease.bond) = (msg.sender, rate, bond);
        // A bid in the last moment gives the others time to answer, up to a hard end.
        uint64 late = uint64(block.timestamp) + (t.bidWindow / 4 < 60 ? t.bidWindow / 4 : 60);
        if (late > d.bidsClose) {
            uint64 more = late - d.bidsClose;
            uint64 most = t.bidWindow - d.bidsExtended;
            if (more > most) more = most;
            d.bidsClose += more;
            d.bidsExtended += uint24(more);
        }
        emit BidPlaced(id, msg.sender, rate, d.bidsClose);
    }

    /// @inheritdoc IDaeeManager
    /// @dev Never reverts once the window is over, whoever bid and whatever is left in escrow (MARKET rule 11).
    function assign(uint256 id) external {
        Deployment storage d = _in(id, Phase.Bidding);
        require(block.timestamp >= d.bidsClose, BidsAreOpen(d.bidsClose));
        Lease storage l = d.lease;
        if (l.node == address(0)) {
            _relist(id, d);
            return;
        }
        d.phase = Phase.Leased;
        l.count += 1;
        // Work on a dropped branch of the chain cannot carry this epoch (MARKET rule 7).
        l.epoch = keccak256(abi.encode(blockhash(block.number - 1), id, l.count));
        l.assignedAt = uint64(block.timestamp);
        _tenures[l.epoch] = Tenure(l.node, uint96(id));
        emit Assigned(id, l.node, l.epoch, l.rate, l.bond);
    }

    // ---- proof of time -----------------------------------------------------------------------------

    /// @inheritdoc IDaeeManager
    /// @dev MARKET rules 1 to 3: an anchor credits what passed since the last one, at most the node's interval;
    /// what was missed is never filled in. The last 64 roots are kept, in slots that are written over: a leaf is opened
    /// while its root is among them.
    function anchor(bytes32 root) external {
        Coverage storage c = _coverage[msg.sender];
        // Fixed when the node registered, so it is asked for once.
        if (c.interval == 0) c.interval = registry.anchorIntervalOf(msg.sender);
        require(c.interval > 0, INodeRegistry.NotRegistered(msg.sender));
        _anchors[msg.sender][c.anchors % ROOTS_KEPT] = Anchor(bytes24(root), uint64(block.timestamp));
        c.covered += _running(c);
        c.lastAnchor = uint64(block.timestamp);
        c.anchors += 1;
        emit Anchored(msg.sender, root, c.covered);
    }

    /// @inheritdoc IDaeeManager
    /// @dev MARKET rule 1. A node that lost its lease can anchor what it likes; it cannot open, advance or earn.
    function open(uint256 id, Checkpoint calldata leaf, bytes32[] calldata proof) external {
        Deployment storage d = _known(id);
        require(d.phase == Phase.Leased || d.phase == Phase.Closing, WrongPhase(d.phase));
        Lease storage l = d.lease;
        require(leaf.deployment == id && leaf.epoch == l.epoch, StaleEpoch(leaf.epoch, l.epoch));
        require(leaf.seq > l.seq, SeqNotHigher(leaf.seq, l.seq));
        require(leaf.preRoot == d.stateRoot, WrongPreRoot(leaf.preRoot, d.stateRoot));
        bytes32 hash = leafHash(leaf);
        uint64 anchored = _anchoredInLease(d, AnchorTree.rootOf(id, hash, proof));
        _acceptVersion(id, d, leaf.artifactHash, anchored);
        if (l.endTime != 0 && anchored >= l.endTime) {
            // The final leaf: what passed between the last anchor and the exit counts after all.
            l.coveredLimit += l.tailCredit;
            l.tailCredit = 0;
            l.finalOpen = true;
        }
        uint64 credited = _credited(l);
        require(leaf.coveredSeconds <= credited, CoverageOverstated(leaf.coveredSeconds, credited));
        if (l.startedAt == 0 && l.endTime == 0) {
            // Pay begins here: the part of the running gap that is already past was nobody's.
            Coverage storage c = _coverage[l.node];
            l.startedAt = uint64(block.timestamp);
            l.coveredBase = c.covered + _running(c);
        }
        (l.seq, l.leafHash, d.stateRoot) = (leaf.seq, hash, leaf.stateRoot);
        emit Opened(id, leaf.epoch, leaf.seq, hash, leaf.stateRoot, leaf.logRoot, leaf.transcriptRoot);
    }

    /// @inheritdoc IDaeeManager
    function settle(uint256[] calldata ids) external {
        for (uint256 i = 0; i < ids.length; i++) {
            Deployment storage d = _deployments[ids[i]];
            if (d.phase != Phase.Leased) continue;
            bool exhausted = _pay(ids[i], d);
            if (exhausted) _exit(ids[i], d, EXHAUSTED);
        }
    }

    // ---- ends --------------------------------------------------------------------------------------

    /// @inheritdoc IDaeeManager
    /// @dev A failed start is burned, never paid to the tenant (MARKET rule 10); a silent lease pays who noticed.
    function expire(uint256 id) external {
        Deployment storage d = _in(id, Phase.Leased);
        Lease storage l = d.lease;
        uint64 expiresAt;
        uint128 bounty;
        uint128 cut = l.bond / 10;
        if (l.startedAt == 0) {
            expiresAt = l.assignedAt + d.terms.startWindow;
        } else {
            uint64 last = _coverage[l.node].lastAnchor;
            expiresAt = (last > l.startedAt ? last : l.startedAt) + d.terms.interval + d.terms.grace;
            bounty = cut / 10;
        }
        require(block.timestamp > expiresAt, NotExpired(expiresAt));
        (address node, bytes32 epoch) = (l.node, l.epoch);
        emit Expired(id, node, cut, bounty, msg.sender);
        _pay(id, d);
        _endLease(id, d);
        registry.slash(node, epoch, cut, msg.sender, bounty);
    }

    /// @inheritdoc IDaeeManager
    /// @dev MARKET rule 10. A lessee that let the time run out has refused in silence: then the owner may say so, and
    /// the old version is paid until one of them does.
    function refuseUpdate(uint256 id) external {
        Deployment storage d = _in(id, Phase.Leased);
        bool timedOut = block.timestamp > d.pendingUntil && msg.sender == d.owner;
        require(msg.sender == d.lease.node || timedOut, NotLessee(msg.sender));
        require(d.pending.number != 0, NothingToDo());
        _exit(id, d, REFUSED);
    }

    /// @inheritdoc IDaeeManager
    function finish(uint256 id) external {
        Deployment storage d = _in(id, Phase.Closing);
        Lease storage l = d.lease;
        uint64 over = l.endTime + d.terms.openWindow;
        // A lease that never started has no final leaf to wait for.
        bool waits = l.startedAt != 0 && !l.finalOpen;
        require(!waits || block.timestamp > over, TooEarly(over));
        _pay(id, d);
        _endLease(id, d);
    }

    // ---- evidence (MARKET rule 7) --------------------------------------------------------------------

    /// @inheritdoc IDaeeManager
    function commitEvidence(bytes32 commitment) external {
        require(evidenceBlock[commitment] == 0, NotEvidence("committed already"));
        evidenceBlock[commitment] = block.number;
        emit EvidenceCommitted(msg.sender, commitment);
    }

    /// @inheritdoc IDaeeManager
    /// @dev Two different leaves of one (deployment, epoch, seq) signed by its lessee. The commitment names the
    /// reporter, so nobody who sees the evidence in the pool can take the reward. A lease loses its whole bond,
    /// once; a tenth is the reporter's, the rest burned.
    function reportEquivocation(Checkpoint calldata a, bytes calldata signatureA, Checkpoint calldata b, bytes calldata signatureB, bytes32 salt) external {
        (bytes32 hashA, bytes32 hashB) = (leafHash(a), leafHash(b));
        uint256 committed = evidenceBlock[keccak256(abi.encode(msg.sender, hashA, hashB, salt))];
        require(committed != 0 && committed < block.number, NotEvidence("commit first, reveal in a later block"));
        require(a.deployment == b.deployment && a.epoch == b.epoch && a.seq == b.seq, NotEvidence("different places"));
        require(hashA != hashB, NotEvidence("the same leaf"));
        require(!equivocated[a.epoch], NotEvidence("counted already"));
        Tenure memory tenure = _tenures[a.epoch];
        address node = tenure.node;
        // Leaves that name another deployment would spend the one report that an epoch has.
        require(node != address(0) && tenure.deployment == a.deployment, NotEvidence("no such lease"));
        require(_signed(node, hashA, signatureA) && _signed(node, hashB, signatureB), NotEvidence("not the lessee's signatures"));
        equivocated[a.epoch] = true;

        Deployment storage d = _deployments[a.deployment];
        bool live = d.lease.epoch == a.epoch && (d.phase == Phase.Leased || d.phase == Phase.Closing);
        if (live) {
            _pay(a.deployment, d);
            _endLease(a.deployment, d);
        }
        uint128 bond = _bond(d.terms);
        uint128 slashed = registry.slash(node, a.epoch, bond, msg.sender, bond / 10);
        emit Equivocated(a.deployment, a.epoch, node, a.seq, slashed, msg.sender);
    }

    // ---- views and switches --------------------------------------------------------------------------

    function deployment(uint256 id) external view returns (Deployment memory) {
        return _deployments[id];
    }

    function leaseOf(uint256 id) external view returns (Phase, address, bytes32) {
        Deployment storage d = _deployments[id];
        return (d.phase, d.lease.node, d.lease.epoch);
    }

    /// @notice When the node anchored this root, if it is among its last 64; 0 if not.
    function anchoredAt(address node, bytes32 root) external view returns (uint64) {
        return _anchoredAt(node, root, 0);
    }

    function lesseeOf(bytes32 epoch) external view returns (address) {
        return _tenures[epoch].node;
    }

    function coverage(address node) external view returns (Coverage memory) {
        return _coverage[node];
    }

    function due(uint256 id) public view returns (uint256 amount) {
        Deployment storage d = _deployments[id];
        if (d.phase != Phase.Leased && d.phase != Phase.Closing) return 0;
        amount = uint256(d.lease.rate) * _unpaid(d.lease);
        if (amount > d.balance) amount = d.balance;
    }

    function minimumPayment(Terms calldata terms) public view returns (uint256) {
        return terms.artifactBytes * uint256(feePerByte) + uint256(terms.rateMax) * minRunway;
    }

    /// @notice The EIP-712 struct hash of a checkpoint.
    function leafHash(Checkpoint calldata leaf) public pure returns (bytes32) {
        return keccak256(abi.encode(CHECKPOINT, leaf));
    }

    function domainSeparator() public view returns (bytes32) {
        return keccak256(
            abi.encode(keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"), keccak256("DAEE"), keccak256("1"), block.chainid, address(this))
        );
    }

    function pause(bool on) external {
        require(msg.sender == pauser, NotOwner(msg.sender));
        on ? _pause() : _unpause();
    }

    // ---- helpers -------------------------------------------------------------------------------------

    function _checkTerms(string calldata agentId, Terms calldata t) private view {
        require(bytes(agentId).length > 0 && bytes(agentId).length <= 192, BadTerms("agentId"));
        require(t.cpuMilli > 0, BadTerms("cpuMilli"));
        require(t.memMiB > 0, BadTerms("memMiB"));
        require(t.policy == 0, BadTerms("policy"));
        require(t.tier == 0, BadTerms("tier"));
        require(t.artifactBytes > 0, BadTerms("artifactBytes"));
        require(t.artifactBytes <= ARTIFACT_MAX, ArtifactTooLarge(t.artifactBytes, ARTIFACT_MAX));
        require(t.bidWindow >= bidWindowMin && t.bidWindow <= 7 days, BadTerms("bidWindow"));
        require(t.startWindow > 0 && t.startWindow <= 1 days, BadTerms("startWindow"));
        require(t.interval >= intervalMin && t.interval <= 1 days, BadTerms("interval"));
        require(t.grace > 0 && t.grace <= 7 days, BadTerms("grace"));
        require(t.openWindow > 0 && t.openWindow <= 7 days, BadTerms("openWindow"));
        require(t.rateMax > 0 && t.rateMax <= type(uint96).max, BadTerms("rateMax"));
    }

    /// MARKET rule 6: from the tenant's maximum, not from the bid.
    function _bond(Terms storage t) private view returns (uint128) {
        uint128 day = t.rateMax * 1 days;
        return day > minBond ? day : minBond;
    }

    function _openBids(Deployment storage d) private {
        d.phase = Phase.Bidding;
        d.bidsClose = uint64(block.timestamp) + d.terms.bidWindow;
        d.bidsExtended = 0;
    }

    function _relist(uint256 id, Deployment storage d) private {
        _openBids(d);
        emit Relisted(id, d.bidsClose, d.stateRoot);
    }

    function _dropBid(Deployment storage d) private {
        if (d.lease.node == address(0)) return;
        registry.release(d.lease.node, d.lease.bond, d.terms.cpuMilli, d.terms.memMiB, d.terms.gpu);
        (d.lease.node, d.lease.rate, d.lease.bond) = (address(0), 0, 0);
    }

    /// When the root was anchored by this lease's node, within the lease or its closing grace.
    function _anchoredInLease(Deployment storage d, bytes32 root) private view returns (uint64 anchored) {
        Lease storage l = d.lease;
        anchored = _anchoredAt(l.node, root, l.assignedAt);
        require(anchored != 0, NotAnchored(root));
        if (l.endTime != 0) {
            uint64 last = l.endTime + d.terms.openWindow;
            require(anchored <= last && block.timestamp <= last, TooLate(last));
        }
    }

    /// From the newest on, since what is opened is nearly always the last.
    function _anchoredAt(address node, bytes32 root, uint64 since) private view returns (uint64) {
        uint64 count = _coverage[node].anchors;
        for (uint64 back = 1; back <= ROOTS_KEPT && back <= count; back++) {
            Anchor memory a = _anchors[node][(count - back) % ROOTS_KEPT];
            if (a.time < since) return 0;
            if (a.root == bytes24(root)) return a.time;
        }
        return 0;
    }

    /// A leaf of the pending version, anchored since it was proposed, accepts it: an update of the manifest alone
    /// has the artifact of the old version, whose earlier leaves say nothing about it.
    function _acceptVersion(uint256 id, Deployment storage d, bytes32 artifactHash, uint64 anchored) private {
        bool pending = d.pending.number != 0 && block.timestamp <= d.pendingUntil && d.lease.exit != REFUSED;
        if (pending && artifactHash == d.pending.artifactHash && anchored >= d.pendingUntil - d.terms.startWindow) {
            _adoptPending(id, d);
        } else {
            require(artifactHash == d.version.artifactHash, WrongArtifact(artifactHash, d.version.artifactHash));
        }
    }

    function _adoptPending(uint256 id, Deployment storage d) private {
        d.version = d.pending;
        delete d.pending;
        emit Updated(id, d.version.number, d.version.artifactHash);
    }

    /// What an anchor would credit now: the gap since the last one, at most the interval (MARKET rule 2).
    function _running(Coverage storage c) private view returns (uint64) {
        if (c.lastAnchor == 0) return 0;
        uint64 gap = uint64(block.timestamp) - c.lastAnchor;
        return gap < c.interval ? gap : c.interval;
    }

    /// Seconds credited to this lease so far.
    function _credited(Lease storage l) private view returns (uint64) {
        if (l.startedAt == 0) return 0;
        uint64 counted = l.endTime == 0 ? _coverage[l.node].covered : l.coveredLimit;
        return counted > l.coveredBase ? counted - l.coveredBase : 0;
    }

    function _unpaid(Lease storage l) private view returns (uint64) {
        return _credited(l) - l.coveredPaid;
    }

    /// Pays what is due out of the escrow; true when the escrow could not cover it.
    function _pay(uint256 id, Deployment storage d) private returns (bool exhausted) {
        Lease storage l = d.lease;
        uint64 unpaid = _unpaid(l);
        uint256 amount = uint256(l.rate) * unpaid;
        exhausted = amount > 0 && amount >= d.balance;
        if (amount > d.balance) amount = d.balance;
        l.coveredPaid += unpaid;
        if (amount == 0) return exhausted;
        d.balance -= uint128(amount);
        d.paid += uint128(amount);
        claimable[registry.ownerOf(l.node)] += amount;
        emit Settled(id, l.node, amount, unpaid);
    }

    /// Every exit fixes the end time (MARKET rule 5): what comes after earns nothing, and what passed since the
    /// last anchor is held until the final leaf is opened or its window is over.
    function _exit(uint256 id, Deployment storage d, uint8 reason) private {
        Lease storage l = d.lease;
        Coverage storage c = _coverage[l.node];
        uint64 now_ = uint64(block.timestamp);
        d.phase = Phase.Closing;
        (l.endTime, l.exit, l.coveredLimit) = (now_, reason, c.covered);
        if (l.startedAt != 0) l.tailCredit = _running(c);
        emit Ending(id, l.node, now_, reason);
    }

    /// Ends a lease that was paid. What its exit asked for follows; a lease that expired or was fraud had none, and
    /// opens for bids again, with the update that was still waiting for its lessee.
    function _endLease(uint256 id, Deployment storage d) private {
        Lease storage l = d.lease;
        registry.endLease(l.node, l.epoch, l.bond, d.terms.cpuMilli, d.terms.memMiB, d.terms.gpu);
        (uint32 count, uint8 reason) = (l.count, l.exit);
        delete d.lease;
        d.lease.count = count;
        if (reason == STOPPED || reason == EXHAUSTED) {
            _close(id, d);
            return;
        }
        if (d.pending.number != 0) {
            if (reason == REFUSED || block.timestamp <= d.pendingUntil) _adoptPending(id, d);
            else delete d.pending;
        }
        _relist(id, d);
    }

    function _close(uint256 id, Deployment storage d) private {
        uint128 refund = d.balance;
        d.phase = Phase.Closed;
        d.balance = 0;
        claimable[d.owner] += refund;
        emit Closed(id, refund);
    }

    function _burn(uint256 amount) private {
        if (amount > 0) token.burn(amount);
    }

    function _pull(uint256 amount) private {
        uint256 before = token.balanceOf(address(this));
        IERC20(token).safeTransferFrom(msg.sender, address(this), amount);
        uint256 got = token.balanceOf(address(this)) - before;
        require(got == amount, PaymentBelowMinimum(got, amount));
    }

    function _manifestHash(bytes32 artifactHash, bytes32 bodyHash) private pure returns (bytes32) {
        return sha256(abi.encode(MANIFEST_TAG, artifactHash, bodyHash));
    }

    /// A signature with a high s is none, so no second signature of one leaf passes for another (MARKET rule 7).
    function _signed(address node, bytes32 structHash, bytes calldata signature) private view returns (bool) {
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", domainSeparator(), structHash));
        (address signer, ECDSA.RecoverError failure,) = ECDSA.tryRecover(digest, signature);
        return failure == ECDSA.RecoverError.NoError && signer == node;
    }

    function _known(uint256 id) private view returns (Deployment storage d) {
        d = _deployments[id];
        require(d.phase != Phase.None, UnknownDeployment(id));
    }

    function _in(uint256 id, Phase phase) private view returns (Deployment storage d) {
        d = _known(id);
        require(d.phase == phase, WrongPhase(d.phase));
    }

    function _owned(uint256 id) private view returns (Deployment storage d) {
        d = _known(id);
        require(d.owner == msg.sender, NotOwner(msg.sender));
    }
}
