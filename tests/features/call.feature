Feature: Calls
  HTTP and OpenAPI services are called, with interpolated addresses, read answers, whole responses and authentication.

  # The content is deserialized by its type, and filtered
  Scenario: The content of an HTTP response is the output
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: call-http-content, version: '1.0.0'}
    do:
    - findPets:
        call: http
        with:
          method: get
          endpoint:
            uri: https://petstore.swagger.io/v2/pet/findByStatus?status={status}
        output:
          as: .[0]
    """
    And given the workflow input is:
    """yaml
    status: available
    """
    When the workflow is executed
    Then the workflow should complete
    And the workflow output should have properties 'id', 'name', 'status'

  Scenario: The whole HTTP response is the output
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: call-http-response, version: '1.0.0'}
    do:
    - readPet:
        call: http
        with:
          method: get
          endpoint:
            uri: https://petstore.swagger.io/v2/pet/{petId}
          output: response
    """
    And given the workflow input is:
    """yaml
    petId: 1
    """
    When the workflow is executed
    Then the workflow should complete
    And the workflow output should have properties 'request', 'request.method', 'request.uri', 'request.headers', 'headers', 'statusCode', 'content'
    And the workflow output should have properties 'content.id', 'content.name', 'content.status'

  Scenario: An HTTP endpoint that wants a name and a password
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: call-http-basic, version: '1.0.0'}
    do:
    - enter:
        call: http
        with:
          method: get
          endpoint:
            uri: https://httpbin.org/basic-auth/{username}/{password}
            authentication:
              basic:
                username: ${ .username }
                password: ${ .password }
    """
    And given the workflow input is:
    """yaml
    username: lamplighter
    password: wick-and-oil
    """
    When the workflow is executed
    Then the workflow should complete

  Scenario: The content of an OpenAPI operation's response is the output
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: call-openapi-content, version: '1.0.0'}
    do:
    - countPets:
        call: openapi
        with:
          document:
            endpoint: https://petstore.swagger.io/v2/swagger.json
          operationId: findPetsByStatus
          parameters:
            status: ${ .status }
        output:
          as: . | length
    """
    And given the workflow input is:
    """yaml
    status: available
    """
    When the workflow is executed
    Then the workflow should complete

  Scenario: The whole response of an OpenAPI operation is the output
    Given a workflow with definition:
    """yaml
    document: {dsl: '1.0.3', namespace: conformance, name: call-openapi-response, version: '1.0.0'}
    do:
    - readPet:
        call: openapi
        with:
          document:
            endpoint: https://petstore.swagger.io/v2/swagger.json
          operationId: getPetById
          parameters:
            petId: ${ .petId }
          output: response
    """
    And given the workflow input is:
    """yaml
    petId: 1
    """
    When the workflow is executed
    Then the workflow should complete
    And the workflow output should have properties 'request', 'request.method', 'request.uri', 'request.headers', 'headers', 'statusCode', 'content'
    And the workflow output should have properties 'content.id', 'content.name', 'content.status'
