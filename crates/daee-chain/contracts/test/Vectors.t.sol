// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeManager} from "../src/interfaces/IDaeeManager.sol";
import {AnchorTree} from "../src/lib/AnchorTree.sol";
import {IPlacedManager} from "./Contracts.sol";
import {Market} from "./Market.sol";

contract Tree {
    function rootOf(uint256 deployment, bytes32 leafHash, bytes32[] calldata proof) external pure returns (bytes32) {
        return AnchorTree.rootOf(deployment, leafHash, proof);
    }
}

/// @notice The contracts keep the rules of daee-market: both run these rows.
contract VectorsTest is Market {
    string private file;
    string private row;
    IPlacedManager private placed;
    uint256 private id;

    function test_bond() public {
        _each("bond.json", "bond", this.bondRow);
    }

    function test_minimum_payment() public {
        _each("minimum-payment.json", "minimum", this.minimumPaymentRow);
    }

    function test_best_bid() public {
        _each("best-bid.json", "rate", this.bestBidRow);
    }

    function test_late_bid() public {
        _each("late-bid.json", "more", this.lateBidRow);
    }

    function test_credit() public {
        _each("credit.json", "credit", this.creditRow);
    }

    function test_credited() public {
        _each("credited.json", "credited", this.creditedRow);
    }

    function test_pay() public {
        _each("pay.json", "amount", this.payRow);
    }

    function test_expiry() public {
        _each("expiry.json", "expiresAfter", this.expiryRow);
    }

    function test_penalty() public {
        _each("penalty.json", "cut", this.penaltyRow);
    }

    function test_closing() public {
        _each("closing.json", "mayFinish", this.closingRow);
    }

    function test_final_leaf() public {
        _each("final-leaf.json", "mayOpen", this.finalLeafRow);
    }

    function test_anchor_tree() public {
        _each("anchor-tree.json", "root", this.anchorTreeRow);
    }

    // ---- rows --------------------------------------------------------------------------------------

    function bondRow() external {
        IDaeeManager.Terms memory t = _terms();
        t.rateMax = uint128(_uint("rateMax"));
        _place(t, uint128(_uint("minBond")), 0, 0);
        _placedBid(alpha, 1);
        assertEq(placed.deployment(id).lease.bond, _uint("bond"), row);
    }

    function minimumPaymentRow() external {
        IDaeeManager.Terms memory t = _terms();
        (t.rateMax, t.artifactBytes) = (uint128(_uint("rateMax")), uint32(_uint("artifactBytes")));
        _place(t, 0, uint128(_uint("feePerByte")), uint32(_uint("minRunway")));
        assertEq(placed.minimumPayment(t), _uint("minimum"), row);
        assertEq(type(uint128).max - token.totalSupply(), _uint("fee"), row);
    }

    function bestBidRow() external {
        IDaeeManager.Terms memory t = _terms();
        t.rateMax = uint128(_uint("rateMax"));
        _place(t, 0, 0, 0);
        (uint128 rate, uint256 standing, string memory why) = (uint128(_uint("rate")), _uint("standing"), _text("refused"));
        if (standing != 0) _placedBid(alpha, uint128(standing));
        if (bytes(why).length != 0) {
            vm.expectRevert(abi.encodeWithSignature(string.concat(why, "(uint256,uint256)"), rate, _uint("limit")));
        }
        _placedBid(beta, rate);
        if (bytes(why).length == 0) assertEq(placed.deployment(id).lease.node, beta, row);
    }

    function lateBidRow() external {
        IDaeeManager.Terms memory t = _terms();
        t.bidWindow = uint32(_uint("bidWindow"));
        _place(t, 0, 0, 0);
        (uint64 closes, uint24 extended) = (uint64(_uint("bidsClose")), uint24(_uint("bidsExtended")));
        placed.placeWindow(id, closes, extended);
        vm.warp(_uint("now"));
        _placedBid(alpha, 1);
        assertEq(placed.deployment(id).bidsClose, closes + _uint("more"), row);
        assertEq(placed.deployment(id).bidsExtended, extended + _uint("more"), row);
    }

    function creditRow() external {
        _place(_terms(), 0, 0, 0);
        uint64 last = uint64(_uint("lastAnchor"));
        placed.placeCoverage(alpha, IDaeeManager.Coverage(last, 7, 1, uint32(_uint("interval"))));
        vm.warp(_uint("now"));
        vm.prank(alpha);
        placed.anchor("root");
        assertEq(placed.coverage(alpha).covered, 7 + _uint("credit"), row);
    }

    function creditedRow() external {
        _place(_terms(), 0, 0, 0);
        IDaeeManager.Lease memory l = _placedLease();
        (l.startedAt, l.coveredBase, l.rate) = (_bool("started") ? _now() : 0, uint64(_uint("base")), 1);
        placed.placeLease(id, IDaeeManager.Phase.Leased, l);
        placed.placeCoverage(alpha, IDaeeManager.Coverage(_now(), uint64(_uint("counted")), 1, INTERVAL));
        assertEq(placed.due(id), _uint("credited"), row);
        // The same once an exit has fixed what counts.
        (l.endTime, l.coveredLimit) = (_now(), uint64(_uint("counted")));
        placed.placeLease(id, IDaeeManager.Phase.Closing, l);
        placed.placeCoverage(alpha, IDaeeManager.Coverage(_now(), type(uint64).max, 1, INTERVAL));
        assertEq(placed.due(id), _uint("credited"), row);
    }

    function payRow() external {
        _place(_terms(), 0, 0, 0);
        IDaeeManager.Lease memory l = _placedLease();
        (l.startedAt, l.rate) = (_now(), uint128(_uint("rate")));
        placed.placeLease(id, IDaeeManager.Phase.Leased, l);
        placed.placeCoverage(alpha, IDaeeManager.Coverage(_now(), uint64(_uint("unpaid")), 1, INTERVAL));
        placed.placeBalance(id, uint128(_uint("balance")));
        placed.settle(_list(id));
        assertEq(placed.claimable(_ownerOf("alpha")), _uint("amount"), row);
        assertEq(placed.deployment(id).balance, _uint("balance") - _uint("amount"), row);
        assertEq(placed.deployment(id).phase == IDaeeManager.Phase.Closing, _bool("exhausted"), row);
    }

    function expiryRow() external {
        IDaeeManager.Terms memory t = _terms();
        (t.startWindow, t.interval, t.grace) = (uint32(_uint("startWindow")), uint32(_uint("interval")), uint32(_uint("grace")));
        _place(t, 0, 0, 0);
        IDaeeManager.Lease memory l = _placedLease();
        (l.assignedAt, l.startedAt) = (uint64(_uint("assignedAt")), uint64(_uint("startedAt")));
        placed.placeLease(id, IDaeeManager.Phase.Leased, l);
        placed.placeCoverage(alpha, IDaeeManager.Coverage(uint64(_uint("lastAnchor")), 0, 1, INTERVAL));
        uint64 last = uint64(_uint("expiresAfter"));
        vm.warp(last);
        vm.expectRevert(abi.encodeWithSelector(IDaeeManager.NotExpired.selector, last));
        placed.expire(id);
        vm.warp(last + 1);
        placed.expire(id);
        assertEq(uint8(placed.deployment(id).phase), uint8(IDaeeManager.Phase.Bidding), row);
    }

    function penaltyRow() external {
        _place(_terms(), 0, 0, 0);
        IDaeeManager.Lease memory l = _placedLease();
        (l.bond, l.startedAt) = (uint128(_uint("bond")), _bool("started") ? _now() : 0);
        placed.placeLease(id, IDaeeManager.Phase.Leased, l);
        (uint256 staked, uint256 held) = (_node(alpha).stake, token.balanceOf(stranger));
        vm.warp(_now() + 1 days);
        vm.expectEmit();
        emit IDaeeManager.Expired(id, alpha, _uint("cut"), _uint("bounty"), stranger);
        vm.prank(stranger);
        placed.expire(id);
        assertEq(staked - _node(alpha).stake, _uint("cut"), row);
        assertEq(token.balanceOf(stranger) - held, _uint("bounty"), row);
    }

    function closingRow() external {
        IDaeeManager.Terms memory t = _terms();
        t.openWindow = uint32(_uint("openWindow"));
        _place(t, 0, 0, 0);
        IDaeeManager.Lease memory l = _placedLease();
        (l.startedAt, l.endTime, l.exit) = (uint64(_uint("startedAt")), uint64(_uint("endTime")), 1);
        l.finalOpen = _bool("finalOpen");
        placed.placeLease(id, IDaeeManager.Phase.Closing, l);
        vm.warp(_uint("now"));
        if (!_bool("mayFinish")) vm.expectRevert(abi.encodeWithSelector(IDaeeManager.TooEarly.selector, l.endTime + t.openWindow));
        placed.finish(id);
    }

    function finalLeafRow() external {
        IDaeeManager.Terms memory t = _terms();
        t.openWindow = uint32(_uint("openWindow"));
        _place(t, 0, 0, 0);
        IDaeeManager.Lease memory l = _placedLease();
        (l.assignedAt, l.startedAt, l.endTime, l.exit) = (1_000, 1_000, uint64(_uint("endTime")), 1);
        placed.placeLease(id, IDaeeManager.Phase.Closing, l);
        IDaeeManager.Checkpoint memory leaf;
        (leaf.deployment, leaf.epoch, leaf.seq, leaf.artifactHash) = (id, l.epoch, 1, ARTIFACT);
        bytes32[] memory hashes = new bytes32[](1);
        hashes[0] = placed.leafHash(leaf);
        vm.warp(_uint("anchored"));
        vm.prank(alpha);
        placed.anchor(_rootOf(_list(id), hashes));
        vm.warp(_uint("now"));
        bytes32[] memory proof = _proofOf(_list(id), hashes, 0);
        if (!_bool("mayOpen")) vm.expectRevert(abi.encodeWithSelector(IDaeeManager.TooLate.selector, l.endTime + t.openWindow));
        placed.open(id, leaf, proof);
    }

    function anchorTreeRow() external {
        uint256[] memory ids = vm.parseJsonUintArray(file, string.concat(row, ".deployments"));
        bytes32[] memory hashes = vm.parseJsonBytes32Array(file, string.concat(row, ".leafHashes"));
        bytes32[] memory proof = vm.parseJsonBytes32Array(file, string.concat(row, ".proof"));
        bytes32 root = vm.parseJsonBytes32(file, string.concat(row, ".root"));
        bytes32 leaf = vm.parseJsonBytes32(file, string.concat(row, ".leafHash"));
        assertEq(new Tree().rootOf(_uint("deployment"), leaf, proof), root, row);
        assertEq(_rootOf(ids, hashes), root, row);
        assertEq(abi.encode(_proofOf(ids, hashes, _uint("index"))), abi.encode(proof), row);
    }

    // ---- helpers -----------------------------------------------------------------------------------

    /// Every row in a market of its own, from the same start.
    function _each(string memory name, string memory key, function() external check) private {
        file = vm.readFile(string.concat("../../daee-market/vectors/", name));
        uint256 rows;
        for (; vm.keyExistsJson(file, string.concat("$[", vm.toString(rows), "].", key)); rows++) {
            row = string.concat("$[", vm.toString(rows), "]");
            uint256 start = vm.snapshotState();
            check();
            vm.revertToState(start);
        }
        assertGt(rows, 3, "few rows were read");
    }

    /// A market of the row's parameters with one deployment in it.
    function _place(IDaeeManager.Terms memory terms, uint128 bondMin, uint128 feePerByte, uint32 runway) private {
        vm.warp(1_000);
        token = _newToken(address(this), type(uint128).max);
        registry = _newRegistry(token, pauser, 1, UNBOND, TAIL, 1);
        placed = _newPlacedManager(token, registry, Params(pauser, bondMin, feePerByte, runway, 1, 1));
        registry.setManager(address(placed));
        token.approve(address(placed), type(uint256).max);
        token.approve(address(registry), type(uint256).max);
        for (uint256 i = 0; i < 2; i++) {
            string memory name = i == 0 ? "alpha" : "beta";
            (address operator, uint256 key) = makeAddrAndKey(name);
            address owner = _ownerOf(name);
            bytes memory consent = _consent(operator, key, owner);
            token.transfer(owner, 1e37);
            vm.startPrank(owner);
            token.approve(address(registry), type(uint256).max);
            registry.register(operator, 4_000, 8_192, 1, 1, "", 1e37, consent);
            vm.stopPrank();
        }
        uint256 minimum = placed.minimumPayment(terms);
        id = placed.deploy(AGENT, _cid(ARTIFACT), ARTIFACT, BODY, terms, uint128(minimum + 1e30));
    }

    function _placedBid(address node, uint128 rate) private {
        vm.prank(node);
        placed.bid(id, rate, manifest);
    }

    /// Alpha's lease, with its capacity and bond reserved by a real bid.
    function _placedLease() private returns (IDaeeManager.Lease memory l) {
        _placedBid(alpha, 1);
        l = placed.deployment(id).lease;
        (l.count, l.epoch, l.assignedAt) = (1, "epoch", _now());
    }

    function _uint(string memory key) private view returns (uint256) {
        return vm.parseUint(_text(key));
    }

    function _bool(string memory key) private view returns (bool) {
        return vm.parseBool(_text(key));
    }

    function _text(string memory key) private view returns (string memory) {
        return vm.parseJsonString(file, string.concat(row, ".", key));
    }
}
