// SPDX-License-Identifier: MIT OR Apache-2.0
pragma solidity ^0.8.24;

import {IDaeeOutbox} from "../src/interfaces/IDaeeOutbox.sol";
import {IPriceReader} from "./Contracts.sol";
import {Market} from "./Market.sol";

/// @notice publish, and what another contract reads: MARKET rule 17.
contract OutboxTest is Market {
    bytes32 private constant TOPIC = "price-eth-usd";
    bytes private constant PRICE = abi.encode(uint256(302_155_000_000));
    uint256 private id;
    bytes32 private epoch;

    function setUp() public override {
        super.setUp();
        id = _lease();
        epoch = manager.deployment(id).lease.epoch;
    }

    function test_the_lessee_publishes_and_another_contract_reads() public {
        vm.expectEmit();
        emit IDaeeOutbox.Published(id, TOPIC, epoch, 3, PRICE);
        _publish(alpha, epoch, 3, PRICE);
        IDaeeOutbox.Value memory value = outbox.latest(id, TOPIC);
        assertEq(value.time, _now());
        assertEq(value.turn, 3);
        assertEq(value.data, PRICE);
        assertEq(_newPriceReader(outbox, id, TOPIC, 1 hours).price(), 302_155_000_000);
    }

    function test_nobody_but_the_lessee_publishes() public {
        address[4] memory others = [beta, tenant, _ownerOf("alpha"), stranger];
        for (uint256 i = 0; i < others.length; i++) _refuses(others[i], epoch);
    }

    function test_a_bidder_is_no_lessee() public {
        id = _deploy();
        _bid(alpha, id, RATE);
        _refuses(alpha, 0);
    }

    function test_a_node_that_lost_its_lease_publishes_no_more_and_the_next_one_does() public {
        _publish(alpha, epoch, type(uint64).max, PRICE);
        _pass(START_WINDOW + 1);
        manager.expire(id);
        _refuses(alpha, epoch);
        _refuses(alpha, 0);
        _lease(id, beta);
        _refuses(alpha, epoch);
        bytes32 next = manager.deployment(id).lease.epoch;
        _refuses(alpha, next);
        _refuses(beta, epoch);
        // The highest turn there is was said already: not the last word of this deployment.
        _publish(beta, next, 1, "new");
        assertEq(outbox.latest(id, TOPIC).turn, 1);
    }

    function test_the_last_turn_may_still_publish_while_the_lease_closes_and_nothing_after() public {
        _anchorAndOpen(id);
        _stop(id);
        _publish(alpha, epoch, 9, PRICE);
        _pass(OPEN_WINDOW + 1);
        manager.finish(id);
        _refuses(alpha, epoch);
    }

    function test_turns_of_a_topic_only_rise_within_a_lease() public {
        _publish(alpha, epoch, 0, PRICE);
        _publish(alpha, epoch, 5, PRICE);
        uint64[2] memory late = [uint64(5), 4];
        for (uint256 i = 0; i < late.length; i++) {
            vm.expectRevert(abi.encodeWithSelector(IDaeeOutbox.NotNewer.selector, late[i], 5));
            _publish(alpha, epoch, late[i], PRICE);
        }
        vm.prank(alpha);
        outbox.publish(id, epoch, 4, "another topic", PRICE);
    }

    function test_a_value_has_a_bound() public {
        _publish(alpha, epoch, 1, new bytes(4096));
        vm.expectRevert(abi.encodeWithSelector(IDaeeOutbox.TooLarge.selector, 4097, 4096));
        _publish(alpha, epoch, 2, new bytes(4097));
    }

    function test_a_shorter_value_leaves_nothing_of_the_longer() public {
        _publish(alpha, epoch, 1, new bytes(100));
        _publish(alpha, epoch, 2, "x");
        assertEq(outbox.latest(id, TOPIC).data, "x");
    }

    function test_a_price_that_is_missing_old_or_no_word_is_not_read() public {
        IPriceReader reader = _newPriceReader(outbox, id, TOPIC, 1 hours);
        vm.expectRevert(IPriceReader.NeverPublished.selector);
        reader.price();
        _publish(alpha, epoch, 1, "3021.55");
        vm.expectRevert(abi.encodeWithSelector(IPriceReader.NotAWord.selector, 7));
        reader.price();
        _publish(alpha, epoch, 2, PRICE);
        _pass(1 hours);
        assertEq(reader.price(), 302_155_000_000);
        _pass(1);
        vm.expectRevert(abi.encodeWithSelector(IPriceReader.TooOld.selector, 1 hours + 1, 1 hours));
        reader.price();
    }

    function _publish(address node, bytes32 epoch_, uint64 turn, bytes memory data) private {
        vm.prank(node);
        outbox.publish(id, epoch_, turn, TOPIC, data);
    }

    function _refuses(address node, bytes32 epoch_) private {
        vm.expectRevert(abi.encodeWithSelector(IDaeeOutbox.StaleLease.selector, id, epoch_, node));
        _publish(node, epoch_, 7, PRICE);
    }
}
