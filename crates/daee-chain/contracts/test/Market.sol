// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {IDaeeOutbox} from "../src/interfaces/IDaeeOutbox.sol";
import {INodeRegistry} from "../src/interfaces/INodeRegistry.sol";
import {Contracts, IManager, IRegistry} from "./Contracts.sol";

/// @notice A market with a tenant and three nodes; what the tests of every function start from.
/// @dev A helper that pranks makes no other call between the prank and the call it is for: views and precompiles would
/// use the prank up. Time is read by `_now()`, since the optimizer takes block.timestamp for constant in a function.
abstract contract Market is Contracts {
    uint128 internal constant STAKE_MIN = 1_000e18;
    uint128 internal constant STAKE = 50_000e18;
    uint128 internal constant BOND_MIN = 100e18;
    uint128 internal constant FEE_PER_BYTE = 1e12;
    uint32 internal constant RUNWAY = 600;
    uint32 internal constant UNBOND = 3 days;
    uint32 internal constant TAIL = 2 days;
    uint32 internal constant INTERVAL = 60;
    uint32 internal constant GRACE = 30;
    uint32 internal constant BID_WINDOW = 100;
    uint32 internal constant START_WINDOW = 300;
    uint32 internal constant OPEN_WINDOW = 120;
    uint32 internal constant ARTIFACT_BYTES = 100_000;
    uint128 internal constant RATE_MAX = 1e16;
    uint128 internal constant RATE = 5e15;
    uint128 internal constant PAYMENT = 100e18;
    uint128 internal constant FEE = ARTIFACT_BYTES * FEE_PER_BYTE;
    uint128 internal constant BOND = RATE_MAX * 1 days;
    bytes32 internal constant ARTIFACT = keccak256("artifact");
    bytes32 internal constant BODY = keccak256("body");
    bytes32 internal constant ARTIFACT_2 = keccak256("artifact 2");
    bytes32 internal constant BODY_2 = keccak256("body 2");
    string internal constant AGENT = "talos.oracle.price-eth@v1.2.0";

    IERC20 internal token;
    IRegistry internal registry;
    IManager internal manager;
    IDaeeOutbox internal outbox;

    address internal immutable tenant = makeAddr("tenant");
    address internal immutable stranger = makeAddr("stranger");
    address internal immutable pauser = makeAddr("pauser");
    address internal alpha;
    address internal beta;
    address internal gamma;
    bytes32 internal manifest;
    bytes32 internal manifest2;

    function setUp() public virtual {
        vm.warp(1_800_000_000);
        vm.roll(1_000);
        token = _newToken(address(this), 1_000_000_000e18);
        registry = _newRegistry(token, pauser, STAKE_MIN, UNBOND, TAIL, 10);
        manager = _newManager(token, registry, Params(pauser, BOND_MIN, FEE_PER_BYTE, RUNWAY, 60, 10));
        registry.setManager(address(manager));
        outbox = _newOutbox(manager);
        (manifest, manifest2) = (_manifestOf(ARTIFACT, BODY), _manifestOf(ARTIFACT_2, BODY_2));
        _fund(tenant);
        alpha = _join("alpha");
        beta = _join("beta");
        gamma = _join("gamma");
    }

    // ---- accounts ----------------------------------------------------------------------------------

    function _fund(address who) internal {
        token.transfer(who, 1_000_000e18);
        vm.startPrank(who);
        token.approve(address(manager), type(uint256).max);
        token.approve(address(registry), type(uint256).max);
        vm.stopPrank();
    }

    /// A node with an owner of its own, four CPUs, 8 GiB and one GPU.
    function _join(string memory name) internal returns (address operator) {
        uint256 key;
        (operator, key) = makeAddrAndKey(name);
        address owner = _ownerOf(name);
        _fund(owner);
        bytes memory consent = _consent(operator, key, owner);
        vm.prank(owner);
        registry.register(operator, 4_000, 8_192, 1, INTERVAL, "https://node.example", STAKE, consent);
    }

    function _ownerOf(string memory name) internal returns (address) {
        return makeAddr(string.concat(name, " owner"));
    }

    function _consent(address operator, uint256 key, address owner) internal view returns (bytes memory) {
        bytes32 domain = keccak256(
            abi.encode(
                keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"),
                keccak256("DAEE"),
                keccak256("1"),
                block.chainid,
                address(registry)
            )
        );
        bytes32 said = keccak256(abi.encode(keccak256("Register(address operator,address owner)"), operator, owner));
        return _sign(key, keccak256(abi.encodePacked(hex"1901", domain, said)));
    }

    function _sign(uint256 key, bytes32 digest) internal pure returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, digest);
        return abi.encodePacked(r, s, v);
    }

    /// The other signature that the curve allows for the same digest and key.
    function _highS(bytes memory signature) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 s) = abi.decode(signature, (bytes32, bytes32));
        uint256 n = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141;
        return abi.encodePacked(r, n - uint256(s), signature[64] == bytes1(uint8(27)) ? uint8(28) : uint8(27));
    }

    // ---- the way of a deployment -------------------------------------------------------------------

    function _terms() internal pure returns (IDaeeManager.Terms memory t) {
        t.cpuMilli = 250;
        t.memMiB = 256;
        t.artifactBytes = ARTIFACT_BYTES;
        t.bidWindow = BID_WINDOW;
        t.startWindow = START_WINDOW;
        t.interval = INTERVAL;
        t.grace = GRACE;
        t.openWindow = OPEN_WINDOW;
        t.rateMax = RATE_MAX;
    }

    function _deploy() internal returns (uint256) {
        return _deploy(_terms(), PAYMENT);
    }

    function _deploy(IDaeeManager.Terms memory terms, uint128 payment) internal returns (uint256) {
        vm.prank(tenant);
        return manager.deploy(AGENT, _cid(ARTIFACT), ARTIFACT, BODY, terms, payment);
    }

    function _bid(address node, uint256 id, uint128 rate) internal {
        vm.prank(node);
        manager.bid(id, rate, manifest);
    }

    function _assign(uint256 id) internal {
        _until(manager.deployment(id).bidsClose);
        manager.assign(id);
    }

    /// Deployed, and alpha's at RATE.
    function _lease() internal returns (uint256 id) {
        id = _lease(_deploy(), alpha);
    }

    function _lease(uint256 id, address node) internal returns (uint256) {
        _bid(node, id, RATE);
        _assign(id);
        return id;
    }

    /// Leased to alpha, and its first leaf open: pay runs from now.
    function _run() internal returns (uint256 id) {
        id = _lease();
        _anchorAndOpen(id);
    }

    function _anchor(address node) internal returns (bytes32 root) {
        root = keccak256(abi.encode("root", node, _now(), vm.randomUint()));
        vm.prank(node);
        manager.anchor(root);
    }

    function _update(uint256 id) internal {
        vm.prank(tenant);
        manager.update(id, _cid(ARTIFACT_2), ARTIFACT_2, BODY_2, ARTIFACT_BYTES);
    }

    function _stop(uint256 id) internal {
        vm.prank(tenant);
        manager.stop(id);
    }

    function _settle(uint256 id) internal {
        manager.settle(_list(id));
    }

    /// The lessee anchors the next leaf of one deployment and anyone opens it.
    function _anchorAndOpen(uint256 id) internal returns (IDaeeManager.Checkpoint memory leaf) {
        leaf = _next(id);
        _anchorAndOpen(leaf);
    }

    function _anchorAndOpen(IDaeeManager.Checkpoint memory leaf) internal {
        bytes32[] memory proof = _anchorLeaf(leaf);
        manager.open(leaf.deployment, leaf, proof);
    }

    function _anchorLeaf(IDaeeManager.Checkpoint memory leaf) internal returns (bytes32[] memory proof) {
        (, address node,) = manager.leaseOf(leaf.deployment);
        return _anchorLeaf(node, leaf);
    }

    function _anchorLeaf(address node, IDaeeManager.Checkpoint memory leaf) internal returns (bytes32[] memory proof) {
        (uint256[] memory ids, bytes32[] memory hashes) = (_list(leaf.deployment), new bytes32[](1));
        hashes[0] = manager.leafHash(leaf);
        bytes32 root = _rootOf(ids, hashes);
        vm.prank(node);
        manager.anchor(root);
        return _proofOf(ids, hashes, 0);
    }

    /// The leaf that an honest lessee makes next.
    function _next(uint256 id) internal view returns (IDaeeManager.Checkpoint memory leaf) {
        IDaeeManager.Deployment memory d = manager.deployment(id);
        leaf.deployment = id;
        leaf.epoch = d.lease.epoch;
        leaf.seq = d.lease.seq + 1;
        leaf.prevLeafHash = d.lease.leafHash;
        leaf.turn = leaf.seq;
        leaf.preRoot = d.stateRoot;
        leaf.stateRoot = keccak256(abi.encode("state", id, leaf.epoch, leaf.seq, _now()));
        leaf.logRoot = keccak256("log");
        leaf.transcriptRoot = keccak256("transcript");
        leaf.artifactHash = d.version.artifactHash;
        leaf.runtimeVersion = 1;
    }

    // ---- what to expect ----------------------------------------------------------------------------

    function _phase(uint256 id) internal view returns (IDaeeManager.Phase) {
        return manager.deployment(id).phase;
    }

    function _assertPhase(uint256 id, IDaeeManager.Phase phase) internal view {
        assertEq(uint8(_phase(id)), uint8(phase), "phase");
    }

    function _paid(uint256 id) internal view returns (uint256) {
        return manager.deployment(id).paid;
    }

    function _node(address operator) internal view returns (INodeRegistry.Node memory) {
        return registry.node(operator);
    }

    /// Nothing of a node is reserved or locked.
    function _assertFree(address operator) internal view {
        INodeRegistry.Node memory n = _node(operator);
        assertEq(n.locked, 0, "locked");
        assertEq(uint256(n.cpuUsed) + n.memUsed + n.gpuUsed, 0, "used");
    }

    // ---- an own tree, from the words of AnchorTree -------------------------------------------------------

    function _rootOf(uint256[] memory ids, bytes32[] memory hashes) internal pure returns (bytes32) {
        bytes32[] memory row = _bottom(ids, hashes);
        while (row.length > 1) row = _up(row);
        return keccak256(abi.encodePacked(bytes1(0x02), ids.length, row[0]));
    }

    function _proofOf(uint256[] memory ids, bytes32[] memory hashes, uint256 index) internal pure returns (bytes32[] memory proof) {
        bytes32[] memory row = _bottom(ids, hashes);
        bytes32[] memory path = new bytes32[](64);
        (path[0], path[1]) = (bytes32(index), bytes32(ids.length));
        uint256 used = 2;
        for (; row.length > 1; index /= 2) {
            uint256 sibling = index ^ 1;
            if (sibling < row.length) path[used++] = row[sibling];
            row = _up(row);
        }
        proof = new bytes32[](used);
        for (uint256 i = 0; i < used; i++) proof[i] = path[i];
    }

    function _bottom(uint256[] memory ids, bytes32[] memory hashes) private pure returns (bytes32[] memory row) {
        row = new bytes32[](ids.length);
        for (uint256 i = 0; i < row.length; i++) row[i] = keccak256(abi.encodePacked(bytes1(0x00), ids[i], hashes[i]));
    }

    function _up(bytes32[] memory row) private pure returns (bytes32[] memory next) {
        next = new bytes32[]((row.length + 1) / 2);
        for (uint256 i = 0; i < next.length; i++) {
            bool pair = 2 * i + 1 < row.length;
            next[i] = pair ? keccak256(abi.encodePacked(bytes1(0x01), row[2 * i], row[2 * i + 1])) : row[2 * i];
        }
    }

    // ---- small things ------------------------------------------------------------------------------

    function _now() internal view returns (uint64) {
        return uint64(vm.getBlockTimestamp());
    }

    function _pass(uint256 time) internal {
        _until(_now() + time);
    }

    function _until(uint256 time) internal {
        if (time > _now()) vm.warp(time);
        vm.roll(vm.getBlockNumber() + 1);
    }

    function _cid(bytes32 digest) internal pure returns (bytes memory) {
        return abi.encodePacked(hex"01551220", digest);
    }

    function _manifestOf(bytes32 artifact, bytes32 body) internal pure returns (bytes32) {
        return sha256(abi.encode(bytes32("daee.manifest.v1"), artifact, body));
    }

    function _list(uint256 id) internal pure returns (uint256[] memory ids) {
        ids = new uint256[](1);
        ids[0] = id;
    }
}
